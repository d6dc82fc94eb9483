#!/usr/bin/env bash
# Writes requirements.lock (what a laptop runs with), requirements-image.lock, requirements-sandbox.lock and
# requirements-jobs.lock (what the container images hold) and requirements-dev.lock (everything), with hashes.
# They name no package registry, so they hold wherever packages come from; uv.lock does name one and is not committed.
# `lock.sh --upgrade` takes the newest versions that fit.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=infra/bootstrap.sh
source infra/bootstrap.sh

"$UV" lock --quiet --python "$PYTHON" "$@"
export_lock() {
  local file=$1
  shift
  "$UV" export --quiet --frozen --format requirements-txt --no-emit-workspace --no-header --no-annotate \
    "$@" --output-file "$file" >/dev/null
  if grep -nE '://|^--|^-[a-z]' "$file"; then
    echo "$file would name a registry or an option (above); nothing of that kind may be committed" >&2
    exit 1
  fi
  echo "$file: $(grep -c '==' "$file") packages"
}
export_lock requirements.lock --no-dev --group build
export_lock requirements-image.lock --only-group image --only-group build
export_lock requirements-sandbox.lock --only-group sandbox --only-group build
export_lock requirements-jobs.lock --only-group jobs --only-group build
export_lock requirements-dev.lock --group dev --group build
