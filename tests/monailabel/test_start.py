from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "monailabel_app" / "start.sh"


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """start.sh where it may be started from: its app two folders below the environment."""
    folder = tmp_path / "scripts" / "monailabel_app"
    folder.mkdir(parents=True)
    return Path(shutil.copy(SCRIPT, folder))


def test_the_server_is_started_for_this_machine_alone(script, tmp_path):
    python = tmp_path / ".venv-monailabel" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    os.chmod(python, 0o755)
    done = subprocess.run(["bash", script, "--studies", "a b"], capture_output=True, text=True, check=True)
    options = ["--app", str(script.parent), "--host", "127.0.0.1", "--studies", "a b"]
    assert done.stdout.splitlines() == ["-m", "monailabel.main", "start_server", *options]


def test_a_missing_environment_is_told(script):
    done = subprocess.run(["bash", script], capture_output=True, text=True)
    assert done.returncode == 1 and "run bash" in done.stderr and done.stderr.count("\n") == 1
