"""The note that every figure shows about its data."""

from __future__ import annotations

from pathlib import Path

from hmgdm_monai.data.demo.cohort import MARKER


def synthetic_note(manifest: Path | str) -> str | None:
    """Return a line that says that the data are synthetic, if this is the manifest of the demo cohort."""
    drawn = (Path(manifest).parent / MARKER).exists()
    return "Synthetic demo cohort: drawn by a program, not tissue" if drawn else None
