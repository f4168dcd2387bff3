#!/usr/bin/env bash
# Starts the MONAI Label server of this folder for this machine alone: start.sh --studies FOLDER [more options].
# MONAI Label itself listens on all addresses of the machine; --host after it chooses another one. See
# docs/monailabel.md.
set -euo pipefail
app=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=$app/../../.venv-monailabel/bin/python
if [ ! -x "$python" ]; then
    echo "start.sh: there is no .venv-monailabel; run bash $app/environment.sh first" >&2
    exit 1
fi
exec "$python" -m monailabel.main start_server --app "$app" --host 127.0.0.1 "$@"
