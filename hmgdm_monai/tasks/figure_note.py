"""What every figure says of its data."""

from __future__ import annotations

from pathlib import Path

from hmgdm_monai.data.demo.cohort import MARKER


def synthetic_note(manifest: Path | str) -> str | None:
    """A line that says that the demo cohort is synthetic, where this is its manifest."""
    drawn = (Path(manifest).parent / MARKER).exists()
    return "Synthetic demo cohort: drawn by a program, not tissue" if drawn else None
