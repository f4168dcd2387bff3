#!/usr/bin/env bash
# Lint, format check, types, layers of the package, and the quick tests.
# Arguments go to pytest, e.g. tests/data -k store; -m slow runs the slow ones.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/environment.sh
. .venv/bin/activate
ruff check .
ruff format --check .
# Types and layers, as pyproject.toml sets them.
mypy
lint-imports
# Two processes, a file of tests at a time, with one thread each: small tensors gain nothing from more.
OMP_NUM_THREADS=1 python -m pytest -m 'not slow' -n 2 --dist loadfile "$@"
