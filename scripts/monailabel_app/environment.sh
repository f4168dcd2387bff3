#!/usr/bin/env bash
# Makes or updates .venv-monailabel in the project root: MONAI Label, which needs numpy below 2, and this package in it,
# with the versions of constraints.txt beside this script. Needs Python 3.11 (python3.11).
#
# Does nothing where the files that shape it are those of the last run that came to its end. TORCH_INDEX_URL chooses the
# build of torch, as in scripts/environment.sh. To change the build later, remove .venv-monailabel first.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

app=scripts/monailabel_app
venv=.venv-monailabel
python=$venv/bin/python
stamp=$venv/environment.sha256

if ! command -v python3.11 >/dev/null && [ ! -x "$python" ]; then
    echo "environment.sh: python3.11 is not on the PATH; install Python 3.11 and run this again" >&2
    exit 1
fi
# An interrupted venv has no pip: make it anew over what is there.
if [ ! -x "$python" ] || [ ! -x $venv/bin/pip ]; then
    python3.11 -m venv $venv
fi

wanted=$("$python" -c 'import hashlib, sys
print(hashlib.sha256(b"".join(open(name, "rb").read() for name in sys.argv[1:])).hexdigest())' \
    $app/environment.sh $app/requirements.txt $app/constraints.txt setup.cfg pyproject.toml)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    exit 0
fi

pinned() { grep -i "^$1==" $app/constraints.txt; }

echo "Setting up $venv (three minutes or so the first time) ..."
# torch comes first and alone: whatever needs it then keeps the build that was chosen.
"$python" -m pip install --quiet -c $app/constraints.txt ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} torch
"$python" -m pip install --quiet -c $app/constraints.txt -r $app/requirements.txt
# Without its dependencies: it asks for sam2 and for monai's extras, and both for torchvision, which breaks torch where
# the builds differ. The parts that import them (sam2, its bundle task, DeepEdit) are not used here.
"$python" -m pip install --quiet --no-deps "$(pinned monailabel)"
# Likewise: setup.cfg asks for numpy 2 and for what needs it.
"$python" -m pip install --quiet --no-deps -e .
echo "$wanted" >"$stamp"
echo "Ready: . $venv/bin/activate"
