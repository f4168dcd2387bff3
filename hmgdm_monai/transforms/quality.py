"""Quality check of tiles as a step of the tile transforms: score every tile, and leave out those beyond the limits."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from typing import Any

from monai.config import KeysCollection, NdarrayOrTensor
from monai.transforms import MapTransform, Transform
from monai.utils.enums import TransformBackends

from hmgdm_monai.errors import InputError
from hmgdm_monai.transforms.quality_scores import QualityScores, quality_scores

REASONS = ("pen", "dark", "fold", "blur", "saturated")
"""Why a tile can be left out, in the order in which the limits are compared."""


class LeftOutTileError(InputError):
    """A tile that is left out because of its quality; other tiles of its image are not affected.

    Attributes:
        reason: one of `REASONS`.
        scores: scores of the tile.
    """

    def __init__(self, reason: str, scores: QualityScores) -> None:
        shown = ", ".join(f"{name} {value:.3g}" for name, value in scores._asdict().items())
        super().__init__(f"left out by the quality check: {reason} ({shown})")
        self.reason, self.scores = reason, scores

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason, self.scores)


class QualityLimits:
    """Limits of the scores of :func:`~hmgdm_monai.transforms.quality_scores.quality_scores`; None for no limit.

    The defaults were chosen on demo slides with known artifacts (seed 0) and with 150 real tiles of each of three data
    sets in view, which were taken to be clean; docs/benchmarks.md has the shares on other slides and tiles. A score
    that cannot be measured (NaN) exceeds no limit.

    Args:
        min_focus: least focus, > 0.
        max_pen: largest share of the tile that is covered by ink, 0 to 1.
        max_fold: largest share of the tile in folds, 0 to 1.
        max_dark: largest share of the tile that is nearly black, 0 to 1.
        max_saturation: largest mean saturation of the tissue, 0 to 1.

    Raises:
        InputError: a limit is out of range.
    """

    def __init__(
        self,
        min_focus: float | None = 3.0,
        max_pen: float | None = 0.05,
        max_fold: float | None = 0.03,
        max_dark: float | None = 0.1,
        max_saturation: float | None = None,
    ) -> None:
        if min_focus is not None and not (math.isfinite(min_focus) and min_focus > 0):
            raise InputError(f"quality: min_focus must be a positive number, not {min_focus}")
        shares = {"max_pen": max_pen, "max_fold": max_fold, "max_dark": max_dark, "max_saturation": max_saturation}
        for name, value in shares.items():
            if value is not None and not 0 <= value <= 1:
                raise InputError(f"quality: {name} must lie in 0..1, not {value}")
        self.min_focus, self.max_pen, self.max_fold = min_focus, max_pen, max_fold
        self.max_dark, self.max_saturation = max_dark, max_saturation

    def reason(self, scores: QualityScores) -> str | None:
        """Return why a tile is left out, the first of `REASONS`; None if it is kept."""
        exceeded = {
            "pen": self.max_pen is not None and scores.pen > self.max_pen,
            "dark": self.max_dark is not None and scores.dark > self.max_dark,
            "fold": self.max_fold is not None and scores.fold > self.max_fold,
            "blur": self.min_focus is not None and scores.focus < self.min_focus,
            "saturated": self.max_saturation is not None and scores.saturation > self.max_saturation,
        }
        return next((name for name in REASONS if exceeded[name]), None)


class TileQuality(Transform):
    """Score the quality of a tile, and raise if it is beyond the limits.

    Args:
        limits: limits of the scores; None keeps every tile.
    """

    backend = [TransformBackends.NUMPY]

    def __init__(self, limits: QualityLimits | None = None) -> None:
        self.limits = limits

    def __call__(self, image: NdarrayOrTensor, mpp: float | None = None) -> QualityScores:
        """Return the scores of a tile (3, H, W) uint8; `mpp` in microns per pixel, None if unknown.

        Raises:
            LeftOutTileError: the tile is beyond a limit.
            InputError: the image has another shape or type.
        """
        scores = quality_scores(image, mpp)
        reason = None if self.limits is None else self.limits.reason(scores)
        if reason is not None:
            raise LeftOutTileError(reason, scores)
        return scores


class TileQualityd(MapTransform):
    """Dictionary version of :class:`TileQuality`: reads ``mpp`` if it exists, and adds ``quality``.

    It must come before transforms that change the colors, such as stain normalization.

    Args:
        keys: key of the tile, (3, H, W) uint8; one key.
        limits: limits of the scores; None keeps every tile.
        allow_missing_keys: skip a missing tile instead of raising.
    """

    backend = TileQuality.backend

    def __init__(
        self, keys: KeysCollection, limits: QualityLimits | None = None, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.check = TileQuality(limits)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return a copy of the dictionary with ``quality``, the scores of the tile.

        Raises:
            LeftOutTileError: the tile is beyond a limit.
        """
        d = dict(data)
        for key in self.key_iterator(d):
            d["quality"] = self.check(d[key], d.get("mpp"))
        return d
