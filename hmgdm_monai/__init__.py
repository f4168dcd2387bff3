"""H-MGDM for MONAI: self-supervised learning on entity graphs of histopathology slides.

The names of ``__init__.pyi`` are imported on first use, so ``import hmgdm_monai`` itself is quick.
"""

import lazy_loader

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
