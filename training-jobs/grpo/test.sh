#!/usr/bin/env bash
# Runs the tests of training in its own environment, which is set up first. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
training-jobs/grpo/setup.sh
[[ $* == *tests/training* ]] || set -- "$@" tests/training
export OMP_NUM_THREADS=1 # more threads than work is several times slower, and digits repeat with one
exec training-jobs/grpo/.venv/bin/python -m pytest -c training-jobs/grpo/pyproject.toml --rootdir=tests/training --confcutdir=tests/training "$@"
