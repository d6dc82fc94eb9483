#!/usr/bin/env bash
# Sets up .venv/ from a lock: `setup.sh runtime` for using the platform, `setup.sh dev` for working on it.
# Does nothing when the environment already is what the lock and the workspace's members say.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

lock_of() {
  case "$1" in
    runtime) echo requirements.lock ;;
    dev) echo requirements-dev.lock ;;
    *) echo "usage: setup.sh runtime|dev" >&2; return 2 ;;
  esac
}

# A laptop has no use for the operator. Training runs in an environment of its own; here it is only read, by checks.
members_of() {
  ls services/*/pyproject.toml tools/*/pyproject.toml training-jobs/toolscale/pyproject.toml training-jobs/evaluate/pyproject.toml
  [[ $1 == runtime ]] || ls operator/pyproject.toml training-jobs/grpo/pyproject.toml
}

kind=${1:-}
lock=$(lock_of "$kind")
mapfile -t members < <(members_of "$kind")

fingerprint() { cat "$(lock_of "$1")" $(members_of "$1") infra/setup.sh | git hash-object --stdin; }
is_current() { [[ -x .venv/bin/python && -f .venv/$1.installed && $(<".venv/$1.installed") == "$(fingerprint "$1")" ]]; }

# The development environment holds the runtime's, in the same versions.
if is_current "$kind" || { [[ $kind == runtime ]] && is_current dev; }; then
  exit 0
fi

# shellcheck source=infra/bootstrap.sh
source infra/bootstrap.sh
echo "Setting up .venv ($kind) with $("$PYTHON" --version) and $("$UV" --version | cut -d ' ' -f 1,2) …" >&2
if ! [[ -x .venv/bin/python ]] || ! fits .venv/bin/python; then
  "$UV" venv --quiet --clear --python "$PYTHON" .venv
fi
rm -f .venv/*.installed
export VIRTUAL_ENV=$PWD/.venv
# First everything foreign, by hash, and nothing else; then our own members, built with the tools that the lock brought.
"$UV" pip sync --quiet --require-hashes "$lock"
editables=()
for member in "${members[@]}"; do
  editables+=(--editable "${member%/pyproject.toml}")
done
"$UV" pip install --quiet --offline --no-deps --no-build-isolation "${editables[@]}"
fingerprint "$kind" >".venv/$kind.installed"
