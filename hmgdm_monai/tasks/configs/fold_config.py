"""The parts of a config that are built anew for each fold of a cross-validation."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from hmgdm_monai.tasks.configs.plain import plain_settings
from hmgdm_monai.tasks.configs.running import running_config

# Parts that train a fold.
TRAINING = (
    "network_def",
    "loss",
    "optimizer",
    "lr_scheduler",
    "best",
    "fold_side",
    "train#dataloader",
    "train#sampler",
    "train#iteration",
    "train#trainer#max_epochs",
    "train#trainer#amp",
    "handlers#clip",
)
# Parts that determine the result of a fold.
IDENTITY = (*TRAINING, "fold_seed")


class FoldConfig:
    """Builds network, loss, optimizer, trainer and all other parts of a config for each fold.

    A config describes the training of one fold, its ``fold``. For another fold the same config is parsed again with
    that fold in its place, so that everything is new: weights, optimizer, handlers.

    Args:
        shared: objects that all folds share, by their names in the config, such as ``data``.
        config: of the run, overrides included; None for the one that is running.

    Raises:
        InputError: no config is given, and none is running.
    """

    def __init__(self, shared: Mapping[str, Any], config: ConfigParser | None = None) -> None:
        parser = running_config() if config is None else config
        self._config = copy.deepcopy({name: value for name, value in parser.get().items() if name not in shared})
        self._shared = dict(shared)
        self.settings = plain_settings(parser, IDENTITY, ("device", "num_workers", "output_dir", "ckpt_dir"))

    @classmethod
    def of_files(cls, files: Sequence[Path | str], shared: Mapping[str, Any], **overrides: Any) -> FoldConfig:
        """Read config files outside a run.

        Args:
            files: config files; later ones override earlier ones.
            shared: objects that all folds share, by name.
            overrides: settings by name; ``::`` separates the parts of a name.
        """
        parser = ConfigParser()
        parser.read_config([str(file) for file in files])
        parser.update(overrides)
        parser.parse()
        return cls(shared, parser)

    def parts(self, **values: Any) -> ConfigParser:
        """Return a parser that builds the parts of one fold.

        Args:
            values: values of this fold by name, including ``fold``.
        """
        config = copy.deepcopy(self._config)
        parser = ConfigParser(config | self._shared | values)
        parser.parse()
        return parser
