#!/usr/bin/env bash
# Sets up a real vLLM for this machine's CPU with a small model, and prints the folder that holds them: venv/ and model/.
# The folder is named after what it was made from, under ${XDG_CACHE_HOME:-~/.cache}/toolorchestra/vllm; it may be deleted at
# any time. Does nothing when it is complete, and goes on where it was interrupted.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if [[ $(uname -sm) != "Linux x86_64" ]]; then
  echo "vLLM's environment is locked for Linux on x86_64; this is $(uname -sm)" >&2
  exit 1
fi
# shellcheck source=infra/bootstrap.sh
source infra/bootstrap.sh
if ! "$PYTHON" -c 'import ctypes; ctypes.CDLL("libnuma.so.1")' 2>/dev/null; then
  # shellcheck source=infra/packages.sh
  source infra/packages.sh
  need_packages libnuma1
fi

fingerprint() { { "$PYTHON" --version; cat infra/vllm/{requirements.lock,convert.py}; } | git hash-object --stdin; }
readonly STORE=${XDG_CACHE_HOME:-$HOME/.cache}/toolorchestra/vllm
readonly FOLDER=$STORE/$(fingerprint)

step() {
  local what=$1 began=$SECONDS
  shift
  echo "vLLM: $what …" >&2
  "$@" >&2
  echo "vLLM: $what: $((SECONDS - began)) s" >&2
}

install_packages() {
  "$UV" venv --quiet --clear --python "$PYTHON" "$FOLDER/venv"
  VIRTUAL_ENV=$FOLDER/venv "$UV" pip sync --quiet --require-hashes infra/vllm/requirements.lock
  touch "$FOLDER/venv/installed"
}

convert_model() {
  rm -rf "$FOLDER/draft"
  HF_HUB_OFFLINE=1 TQDM_DISABLE=1 "$FOLDER/venv/bin/python" infra/vllm/convert.py "$FOLDER/draft"
  mv "$FOLDER/draft" "$FOLDER/model"
}

mkdir -p "$FOLDER"
exec 9>"$STORE/lock"
flock --nonblock 9 || step "waiting for another set-up" flock 9
[[ -e $FOLDER/venv/installed ]] || step "installing $(grep -c == infra/vllm/requirements.lock) packages, 4 GB" install_packages
[[ -d $FOLDER/model ]] || step "converting the model" convert_model
echo "$FOLDER"
