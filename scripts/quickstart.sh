#!/usr/bin/env bash
# Set up the environment and train a model on the synthetic demo cohort. Arguments go to the bundle, e.g. --device cpu.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/environment.sh
. .venv/bin/activate
python scripts/make_demo_cohort.py --output demo_cohort
python -m monai.bundle run training --config_file bundle/configs/train.json "$@"
