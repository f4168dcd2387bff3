from __future__ import annotations

import sys
from pathlib import Path

# What `python scripts/benchmark.py` finds beside itself.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
