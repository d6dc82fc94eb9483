#!/usr/bin/env bash
# Writes requirements.lock beside this file from pyproject.toml, with hashes and without naming a package registry.
# `lock.sh --upgrade` takes the newest versions that fit.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=../../infra/bootstrap.sh
source infra/bootstrap.sh
"$UV" pip compile pyproject.toml --directory training-jobs/grpo --python-version 3.11 --python-platform x86_64-unknown-linux-gnu \
  --group test --group build --no-emit-package toolorchestra-core --no-emit-package toolorchestra-worlds --generate-hashes --no-header --no-annotate --quiet \
  --output-file requirements.lock "$@" >/dev/null
