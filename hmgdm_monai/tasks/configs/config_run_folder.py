"""The run folder of a config: its settings are those of the config."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hmgdm_monai.tasks.configs.plain import plain_settings
from hmgdm_monai.tasks.configs.running import running_config
from hmgdm_monai.tasks.run_folder import RunFolder

# Parts of a training that make one run another; a config has some of them.
IDENTITY = (
    "data",
    "recipe",
    "images",
    "prior",
    "views",
    "backbone_entities",
    "given_entities",
    "entities",
    "network_def",
    "noising",
    "loss",
    "optimizer",
    "lr_scheduler",
    "early_stop#patience",
    "train#dataloader",
    "train#iteration",
    "train#trainer#amp",
    "train#trainer#accumulation_steps",
    "num_threads",
)
# Settings that may change between runs into one folder.
FREE = (
    "output_dir",
    "dataset_dir",
    "ckpt_dir",
    "bundle_root",
    "device",
    "max_epochs",
    "val_interval",
    "probe_interval",
    "num_workers",
)


def config_run_folder(path: Path | str, identity: Sequence[str] = IDENTITY, free: Sequence[str] = FREE) -> RunFolder:
    """The output folder of the config that is running.

    Args:
        path: of the folder.
        identity: names of the parts of the config that make one run another. Overrides of the command line are in them,
            whatever they change.
        free: names of settings that may change between runs into one folder. They are recorded where they are plain
            values, and do not count.

    Raises:
        InputError: no config is running.
    """
    parser = running_config()
    return RunFolder(path, plain_settings(parser, identity, free), plain_settings(parser, free))
