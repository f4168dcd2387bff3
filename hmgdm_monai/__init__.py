"""H-MGDM for MONAI: self-supervised learning on entity graphs of histopathology slides."""

__version__ = "0.2.0"
