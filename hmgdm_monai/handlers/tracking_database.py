"""The MLflow database of a run. It appears whole or not at all, and its errors do not end the run."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from hmgdm_monai.data.files.whole_file import temporary_path
from hmgdm_monai.errors import InputError

DATABASE = "mlruns.db"
logger = logging.getLogger(__name__)


def check_trackable(output_dir: Path | str) -> None:
    """Refuse a folder whose name MLflow would misread.

    Args:
        output_dir: output folder of the run.

    Raises:
        InputError: the path contains "?", or "%" followed by two hexadecimal digits.
    """
    if found := re.search(r"\?|%[0-9a-fA-F]{2}", str(output_dir)):
        raise InputError(
            f"output_dir {output_dir}: MLflow does not take {found[0]!r} in a path; choose another --output_dir"
        )


def tracking_uri(output_dir: Path | str) -> str | None:
    """Return the URI of the database in a run's folder. A missing database is made.

    MLflow makes its tables in many steps and cannot continue if it is interrupted. So a new database is made under a
    temporary name and moved into place when it is complete. A damaged database is renamed, and a new one is made.

    Args:
        output_dir: output folder of the run.

    Returns:
        The URI for MLflow; None if there can be no database, which is logged.

    Raises:
        InputError: MLflow would misread the path, see :func:`check_trackable`.
    """
    check_trackable(output_dir)
    path = Path(output_dir) / DATABASE
    try:
        if path.exists() and (fault := _fault(path)) is not None:
            logger.warning("%s cannot be used (%s): kept as %s, a new one is made", path, fault, _set_aside(path).name)
        if not path.exists():
            _make(path)
    # MLflow passes on errors of several libraries. None of them should end the run.
    except Exception as error:
        tell_untracked(error)
        return None
    return _uri(path)


def tell_untracked(error: Exception) -> None:
    """Log that a run goes on without MLflow, and why.

    Args:
        error: error that MLflow raised.
    """
    reason = next(iter(str(error).splitlines()), "") or type(error).__name__
    logger.warning("MLflow no longer tracks this run (%s); the run goes on", reason)


def _uri(path: Path) -> str:
    return f"sqlite:///{path}"


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with _temporary(path) as temporary:
        _open(temporary)
        _move(temporary, path)


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A name beside a database for a file that is removed at the end."""
    temporary = temporary_path(path)
    try:
        yield temporary
    finally:
        for leftover in (temporary, temporary.with_name(f"{temporary.name}-journal")):
            leftover.unlink(missing_ok=True)


def _move(source: Path, target: Path) -> None:
    """Move a file, never over one that another process has put there in between."""
    try:
        os.link(source, target)
    except FileExistsError:
        return
    except OSError:  # a file system without links
        if not target.exists():
            os.replace(source, target)


def _open(path: Path) -> None:
    """Open a database as a run does; MLflow then makes missing tables."""
    from mlflow import MlflowClient

    MlflowClient(_uri(path)).search_experiments(max_results=1)


def _fault(path: Path) -> str | None:
    """Why a database cannot be used; None where it can.

    MLflow opens a copy, because it would change an unfinished database and keep a file open on which it failed.

    Raises:
        sqlite3.OperationalError: another program has locked it, or there is no room for the copy.
    """
    with _temporary(path) as copy:
        try:
            # Read here first: MLflow tries for minutes to open a file that is not a database.
            with closing(sqlite3.connect(path)) as database, closing(sqlite3.connect(copy)) as target:
                (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
                if found != "ok":
                    return str(found)
                if database.execute("SELECT count(*) FROM alembic_version").fetchone() == (0,):
                    return "its tables are not complete"
                database.backup(target)
        except sqlite3.DatabaseError as error:
            if "no such table" in str(error):
                return "its tables are not complete"
            if isinstance(error, sqlite3.OperationalError):
                raise
            return str(error)
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            _open(copy)
        except (MlflowException, SQLAlchemyError) as error:
            if "disk is full" in str(error):
                raise
            return str(error).splitlines()[0]
    return None


def _set_aside(path: Path) -> Path:
    """Rename a database, with its journal, to the first free name of damaged ones; that name."""
    number = 1
    while (target := path.with_name(f"{path.name}-damaged-{number}")).exists():
        number += 1
    path.rename(target)
    with suppress(FileNotFoundError):
        path.with_name(f"{path.name}-journal").rename(f"{target}-journal")
    return target
