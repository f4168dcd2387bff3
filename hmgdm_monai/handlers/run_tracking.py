"""MLflow tracking of a run. Errors of MLflow do not end the run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ignite.engine import Engine
from monai.handlers import MLFlowHandler

from hmgdm_monai.handlers.tracking_database import tell_untracked, tracking_uri


class RunTracking(MLFlowHandler):
    """MONAI's MLflow handler, with the database of the run's folder.

    If MLflow fails (a full disk, a locked database), one warning is logged and the run goes on without tracking.

    Args:
        output_dir: output folder of the run.
        experiment_name: name of the experiment in MLflow.
        run_name: name of the run in MLflow. An unfinished run of this name is continued.
        uri: URI of another store, such as a server; None takes the database in ``output_dir``. The environment
            variable ``MLFLOW_TRACKING_URI`` overrides both.
        iteration_log: log each iteration, too.
        close_on_complete: end the run of MLflow with the training.
    """

    def __init__(
        self,
        output_dir: Path | str,
        experiment_name: str,
        run_name: str | None = None,
        uri: str | None = None,
        iteration_log: bool = False,
        close_on_complete: bool = False,
    ) -> None:
        elsewhere = os.environ.get("MLFLOW_TRACKING_URI") or uri
        found = elsewhere or tracking_uri(output_dir)
        self._works = found is not None
        if found is None:
            return
        try:
            super().__init__(
                tracking_uri=found,
                iteration_log=iteration_log,
                experiment_name=experiment_name,
                run_name=run_name,
                close_on_complete=close_on_complete,
                artifact_location=None if elsewhere else os.path.abspath(Path(output_dir) / "mlflow_artifacts"),
            )
        except Exception as error:  # as below
            self._give_up(error)

    def attach(self, engine: Engine) -> None:
        """Register on an engine if MLflow works."""
        if self._works:
            super().attach(engine)

    def start(self, engine: Engine) -> None:
        """Begin, or go on with, the run of MLflow."""
        self._try(super().start, engine)

    def epoch_completed(self, engine: Engine) -> None:
        """Log an epoch."""
        self._try(super().epoch_completed, engine)

    def iteration_completed(self, engine: Engine) -> None:
        """Log an iteration."""
        self._try(super().iteration_completed, engine)

    def complete(self) -> None:
        """Log what comes at the end."""
        self._try(super().complete)

    def close(self) -> None:
        """End the run of MLflow."""
        self._try(super().close)

    def _try(self, step: Callable[..., None], *given: Engine) -> None:
        if not self._works:
            return
        try:
            step(*given)
        # MLflow lets through errors of several libraries, and none of them is worth the run.
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._works = False
        tell_untracked(error)
