"""H-MGDM for MONAI: self-supervised learning on entity graphs of histopathology slides."""

__version__ = "0.1.0"
