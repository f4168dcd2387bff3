"""Run a config of the bundle from Python, like ``python -m monai.bundle run``, with Python errors and results."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.bundle.reference_resolver import ReferenceResolver

from hmgdm_monai.errors import InputError, input_error_in
from hmgdm_monai.saving.bundle_files import bundle_file
from hmgdm_monai.tasks.configs.unknown import no_such_setting
from hmgdm_monai.tasks.run_lock import let_go

ConfigFiles = str | Path | Sequence[str | Path]


def run_bundle(
    config_file: ConfigFiles, manifest: Path | str, output_dir: Path | str, settings: Mapping[str, Any]
) -> Path:
    """Run a config of the bundle.

    A config may change the number of PyTorch threads, ``sys.excepthook`` and what SIGTERM does; they are restored at
    the end. The run folder is unlocked.

    Args:
        config_file: one or several configs, later ones override earlier ones; each is a path, or a file name in the
            bundle's ``configs``.
        manifest: path of the cohort's CSV.
        output_dir: output folder of the run.
        settings: further settings of the config, with the names of the command line. ``bundle_root`` is the folder that
            holds ``configs`` and ``models``; without it, :func:`~hmgdm_monai.saving.bundle_files.bundle_file` searches
            for it.

    Returns:
        ``output_dir``.

    Raises:
        InputError: a config or setting does not exist, or the run cannot use its input.
    """
    given = {name: _plain(value) for name, value in settings.items()}
    root = given.pop("bundle_root", None)
    meta_file = bundle_file("configs/metadata.json", root)
    names = [config_file] if isinstance(config_file, str | Path) else config_file
    files = [str(name if Path(name).is_file() else bundle_file(f"configs/{name}", root)) for name in names]
    _refuse_unknown(files, given)
    hook, threads, terminated = sys.excepthook, torch.get_num_threads(), signal.getsignal(signal.SIGTERM)
    try:
        workflow = ConfigWorkflow(
            workflow_type="train",
            config_file=files,
            meta_file=str(meta_file),
            logging_file=False,
            **{"bundle_root": str(meta_file.parents[1]), "manifest": str(manifest), "output_dir": str(output_dir)},
            **given,
        )
        workflow.initialize()
        workflow.run()
        workflow.finalize()
    except Exception as error:
        found = input_error_in(error)
        if found is None:
            raise
        raise found from None  # without the config parser's error, which would hide the message
    finally:
        let_go(output_dir)
        sys.excepthook = hook
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminated)
        torch.set_num_threads(threads)
    return Path(output_dir)


def metrics_of_bundle(
    config_file: ConfigFiles, manifest: Path | str, output_dir: Path | str, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Run a config of the bundle that writes ``metrics.json``, and return the content of that file.

    Args:
        config_file: see :func:`run_bundle`; the same for the others.
        manifest: path of the cohort's CSV.
        output_dir: output folder of the run.
        settings: further settings of the config.

    Raises:
        InputError: see :func:`run_bundle`.
    """
    path = run_bundle(config_file, manifest, output_dir, settings) / "metrics.json"
    return dict(json.loads(path.read_text()))


def _refuse_unknown(files: Sequence[str], settings: Mapping[str, Any]) -> None:
    """Refuse arguments of parts that are not there, and unknown names set to None."""
    parser = ConfigParser()
    parser.read_config(list(files))
    faults = []
    for name, value in settings.items():
        group, last = ReferenceResolver.split_id(name, last=True)
        if group and group not in parser or not group and value is None and name not in parser:
            faults.append(no_such_setting(name, group or last, sorted(parser.get())))
    if faults:
        raise InputError("\n".join(sorted(faults)))


def _plain(value: Any) -> Any:
    """Return the value that the command line would give."""
    if isinstance(value, Path | torch.device):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
