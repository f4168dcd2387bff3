"""Frozen pretrained networks whose feature maps are pooled over entities."""
