"""What an embedding of a cohort leaves on disk."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hmgdm_monai.data.manifest.manifest import ManifestRow


@dataclass
class Embedded:
    """The files on disk, and the result for each image.

    Attributes:
        slides: row id -> file with ``features`` (M, S), level-0 ``coords`` (M, 2) and attributes; with a classifier
            also ``scores`` (M, K), the class probabilities.
        tiles: file of all plain tiles with ``features`` (N, S), ``ids`` (N), ``coords`` (N, 2) and, with a classifier,
            ``scores`` (N, K); None if there are no plain tiles.
        rows: row id -> row, for all good rows of the manifest.
        kept: number of files that already existed.
        skipped: what -> why, one line each: faults of the manifest, then images that cannot be used.
    """

    slides: dict[str, Path] = field(default_factory=dict)
    tiles: Path | None = None
    rows: dict[str, ManifestRow] = field(default_factory=dict)
    kept: int = 0
    skipped: dict[str, str] = field(default_factory=dict)

    def summary(self) -> str:
        """Return what was done and what was skipped and why, as lines for the user."""
        parts = [f"{len(self.slides)} slides"] if self.slides else []
        parts += [f"plain tiles in {self.tiles.name}"] if self.tiles else []
        head = f"embedded {' and '.join(parts) or 'nothing'} ({self.kept} already done), skipped {len(self.skipped)}"
        return "\n".join(
            [head + (":" if self.skipped else ""), *(f"- {what}: {why}" for what, why in self.skipped.items())]
        )
