"""A work: a method with a stain and a seed, what determines its result, and where its files are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reproduce_parts.cohorts import Cohort
from reproduce_parts.methods import DIRL, METHODS, Method, overrides_of, parsed_config, settings_for
from reproduce_parts.scored_tiles import ScoredTiles

PLAIN = "plain"
SEEDS_APART = 1000  # the fold seeds of a training seed start at this multiple of it
# Settings, and config parts with all their settings, that determine the latents of entities. Latents of degraded views
# are stored in addition to those of the original tile.
ENTITY_SETTINGS = ("backbone", "edge_latents", "entity_kind", "n_segments")
ENTITY_PARTS = ("backbone_entities", "cutter", "recipe")


@dataclass(frozen=True)
class Work:
    """A method with a stain and a seed, and the location of its files.

    Attributes:
        name: name of the method.
        stain: "plain" or a method of stain normalization.
        seed: seed of training.
        cohort: the data.
        manifest: manifest of its tiles, without labels.
        output: folder of all runs.
        settings: NAME=VALUE for the bundle.
        budget_cpu_min: CPU minutes of training, including encoding of graphs; None for a number of epochs.
        kinds: kinds of corruption, in addition to clean tiles.
        fold_draws: number of draws of the folds.
        finetune_epochs: number of epochs of fine-tuning with labels; 0 for none.
        finetune_shares: fractions of the labeled groups for fine-tuning.
    """

    name: str
    stain: str
    seed: int
    cohort: Cohort
    manifest: Path
    output: Path
    settings: Sequence[str]
    budget_cpu_min: float | None = None
    kinds: Sequence[str] = ()
    fold_draws: int = 1
    finetune_epochs: int = 0
    finetune_shares: Sequence[float] = field(default_factory=tuple)

    @property
    def method(self) -> Method:
        """The method with this name."""
        return METHODS[self.name]

    @property
    def folder(self) -> Path:
        """Folder of the run that it uses for embedding; a method without a network has no run."""
        base = self.output / self.stain / (self.method.run or self.name)
        return base / f"seed_{self.seed}" if self.method.family in ("images", "graphs") else base

    @property
    def stores(self) -> Path:
        """Folder of tiles, graphs and latents, which all runs share."""
        return self.output / "stores"

    @property
    def fold_seeds(self) -> list[int]:
        """Seed of each draw of the folds; the same for all methods of a training seed."""
        return [SEEDS_APART * self.seed + draw for draw in range(self.fold_draws)]

    @property
    def own_settings(self) -> list[str]:
        """The settings that apply to this method, including its stain."""
        return [*settings_for(self.method, self.settings), *self.stain_settings]

    @property
    def stain_settings(self) -> list[str]:
        """Settings of the stain normalization; None for original tiles."""
        return [] if self.stain == PLAIN else [f"stain_method={self.stain}"]

    @property
    def entity_settings(self) -> tuple[str, ...]:
        """Settings that determine its entities and their latents."""
        given = (setting.split("=", 1) for setting in self.own_settings)
        chosen = {name.replace("#", "::"): value for name, value in given}
        return (
            self.stain,
            *(
                f"{name}={chosen[name]}"
                for name in sorted(chosen)
                if name in ENTITY_SETTINGS or name.split("::")[0] in ENTITY_PARTS
            ),
        )

    def config(self) -> Any:
        """The parsed config of its method."""
        overrides = overrides_of(self.manifest, self.folder, self.stores, self.seed, self.own_settings)
        return parsed_config(self.method.configs, overrides)


def shared_data(work: Work, stain: str | None = None) -> Any:
    """Return the tiles of the manifest, made by the bundle with the settings that apply to all methods.

    Args:
        work: work with manifest and stain.
        stain: stain in place of that of the work.
    """
    return _shared_config(work, ("train.json",), stain or work.stain).get_parsed_content("data")


def shared_images(work: Work) -> Any:
    """Return the same tiles with their regions, as methods on images need them."""
    return _shared_config(work, DIRL, work.stain).get_parsed_content("images")


def _shared_config(work: Work, configs: tuple[str, ...], stain: str) -> Any:
    settings = [s for s in work.settings if s.startswith("images::") or not s.startswith(("images:", "graphs:"))]
    if stain != PLAIN:
        settings.append(f"stain_method={stain}")
    return parsed_config(configs, overrides_of(work.manifest, work.output / "unused", work.stores, 0, settings))


def scored_tiles(work: Work) -> ScoredTiles:
    """Return the original labeled tiles."""
    return ScoredTiles(shared_data(work, stain=PLAIN), work.cohort)
