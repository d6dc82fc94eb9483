#!/usr/bin/env bash
# Sets up training-jobs/grpo/.venv from requirements.lock: PyTorch and TRL, and the training job itself. Does nothing when it is
# current. 4 GB; PyTorch is the ordinary build for GPUs, which runs on a CPU as well.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if [[ $(uname -sm) != "Linux x86_64" ]]; then
  echo "the training environment is locked for Linux on x86_64; this is $(uname -sm)" >&2
  exit 1
fi
readonly HOME_OF=training-jobs/grpo
readonly MEMBERS=(services/core services/worlds "$HOME_OF")
fingerprint() { cat "$HOME_OF"/{requirements.lock,setup.sh} "${MEMBERS[@]/%//pyproject.toml}" | git hash-object --stdin; }
if [[ -f $HOME_OF/.venv/installed && $(<"$HOME_OF/.venv/installed") == "$(fingerprint)" ]]; then
  exit 0
fi
# shellcheck source=../../infra/bootstrap.sh
source infra/bootstrap.sh
echo "Setting up $HOME_OF/.venv with $(grep -c == "$HOME_OF/requirements.lock") packages, 4 GB …" >&2
[[ -x "$HOME_OF/.venv/bin/python" ]] || "$UV" venv --quiet --python "$PYTHON" "$HOME_OF/.venv"
export VIRTUAL_ENV=$PWD/$HOME_OF/.venv
"$UV" pip sync --quiet --require-hashes "$HOME_OF/requirements.lock"
editables=()
for member in "${MEMBERS[@]}"; do
  editables+=(--editable "$member")
done
"$UV" pip install --quiet --offline --no-deps --no-build-isolation "${editables[@]}"
fingerprint >"$HOME_OF/.venv/installed"
