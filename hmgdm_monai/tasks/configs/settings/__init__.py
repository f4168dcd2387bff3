"""The settings of the configs: type, range and meaning of each. Defaults are in the JSON configs."""
