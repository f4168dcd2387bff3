"""What runs read of the config that they run in."""
