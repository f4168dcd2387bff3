#!/usr/bin/env bash
# Run lint, format check, type check, import layers and the quick tests.
# Arguments go to pytest, e.g. tests/data -k store; -m slow runs the slow tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/environment.sh
. .venv/bin/activate
ruff check .
ruff format --check .
# Types and import layers; pyproject.toml has the settings.
mypy
lint-imports
# Two processes with one thread each; each process runs whole test files. More threads do not speed up small tensors.
OMP_NUM_THREADS=1 python -m pytest -m 'not slow' -n 2 --dist loadfile "$@"
