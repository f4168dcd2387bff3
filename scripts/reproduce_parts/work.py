"""A method under a stain and a seed: what shapes it, and where its files are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reproduce_parts.cohorts import Cohort
from reproduce_parts.methods import DIRL, METHODS, Method, overrides_of, parsed_config, settings_for
from reproduce_parts.scored_tiles import ScoredTiles

PLAIN = "plain"
SEEDS_APART = 1000  # folds of a training seed are drawn by numbers from this many times the seed on
# What latents of entities hang on: settings, and parts with all that is in them. Degraded views come beside the latents
# of the tile as it is.
ENTITY_SETTINGS = ("backbone", "edge_latents", "entity_kind", "n_segments")
ENTITY_PARTS = ("backbone_entities", "cutter", "recipe")


@dataclass(frozen=True)
class Work:
    """A method under a stain and a seed, and where its files are.

    Attributes:
        name: of the method. stain: "plain" or a method of normalization. seed: of training.
        cohort: the data. manifest: of its tiles, without labels.
        output: folder of all runs.
        settings: NAME=VALUE for the bundle.
        budget_cpu_min: of training, encoding of graphs included; None for a number of epochs.
        kinds: how tiles are corrupted, beside the clean ones.
        fold_draws: how many times folds are drawn.
        finetune_epochs: of training on with labels; 0 for none.
        finetune_shares: of the labeled groups, for that.
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
        """What its name stands for."""
        return METHODS[self.name]

    @property
    def folder(self) -> Path:
        """Of the run that it embeds with; nothing is run for what has no network."""
        base = self.output / self.stain / (self.method.run or self.name)
        return base / f"seed_{self.seed}" if self.method.family in ("images", "graphs") else base

    @property
    def stores(self) -> Path:
        """Of tiles, graphs and latents, shared by all runs."""
        return self.output / "stores"

    @property
    def fold_seeds(self) -> list[int]:
        """Of each draw of the folds: the same for all methods of a training seed."""
        return [SEEDS_APART * self.seed + draw for draw in range(self.fold_draws)]

    @property
    def own_settings(self) -> list[str]:
        """The settings that are for this method, its stain among them."""
        return [*settings_for(self.method, self.settings), *self.stain_settings]

    @property
    def stain_settings(self) -> list[str]:
        """None for tiles as they are."""
        return [] if self.stain == PLAIN else [f"stain_method={self.stain}"]

    @property
    def entity_settings(self) -> tuple[str, ...]:
        """Those that its entities and their latents hang on."""
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
    """Tiles of the manifest, as the bundle makes them, with the settings that are for all methods.

    Args:
        work: whose manifest and stain it is.
        stain: instead of that of the work.
    """
    return _shared_config(work, ("train.json",), stain or work.stain).get_parsed_content("data")


def shared_images(work: Work) -> Any:
    """The same tiles with their regions, as methods on images take them."""
    return _shared_config(work, DIRL, work.stain).get_parsed_content("images")


def _shared_config(work: Work, configs: tuple[str, ...], stain: str) -> Any:
    settings = [s for s in work.settings if s.startswith("images::") or not s.startswith(("images:", "graphs:"))]
    if stain != PLAIN:
        settings.append(f"stain_method={stain}")
    return parsed_config(configs, overrides_of(work.manifest, work.output / "unused", work.stores, 0, settings))


def scored_tiles(work: Work) -> ScoredTiles:
    """The labeled tiles, as they came."""
    return ScoredTiles(shared_data(work, stain=PLAIN), work.cohort)
