#!/usr/bin/env bash
# Builds container images: `build.sh [platform|sandbox|jobs|training|evaluation|local-model]…`, by default the first two.
# Writes OUT/NAME.tar, OCI archives of IMAGE_PREFIX/NAME:VERSION; what has not changed is not built again.
#   OUT           folder of the archives; default build/images
#   IMAGE_PREFIX  default localhost/toolorchestra
#   VERSION       default 0.1.0
#   DEVICE        of training: cpu, or gpu, which runs on both and is three times as large; default cpu
#   BASE          image with Python; default: the Dockerfiles' own or, where no registry answers, a Debian made by debootstrap
# Docker is used where its engine runs, else buildah as root (Debian: apt install buildah debootstrap).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

OUT=${OUT:-build/images}
IMAGE_PREFIX=${IMAGE_PREFIX:-localhost/toolorchestra}
VERSION=${VERSION:-0.1.0}
DEVICE=${DEVICE:-cpu}
REVISION=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/toolorchestra/images
CERTIFICATES=/etc/ssl/certs
DEBIAN=bookworm
(($#)) || set -- platform sandbox

say() { printf '%s\n' "$*" >&2; }
engine_runs() { command -v docker >/dev/null && docker info >/dev/null 2>&1; }

# What an image depends on, file by file.
sources_of() {
  echo .dockerignore infra/images/build.sh "infra/images/$1.Dockerfile"
  case $1 in
    platform) echo requirements-image.lock && git ls-files -co --exclude-standard services tools operator ;;
    sandbox) echo requirements-sandbox.lock && git ls-files -co --exclude-standard services tools/python ;;
    jobs) echo requirements-jobs.lock && git ls-files -co --exclude-standard services training-jobs ;;
    training) echo "infra/images/without-gpu.sh" && git ls-files -co --exclude-standard services/core services/worlds training-jobs/grpo ;;
    evaluation) echo requirements.lock infra/images/evaluation-entrypoint.sh ;;
    local-model) echo requirements.lock && git ls-files -co --exclude-standard services/core services/cli ;;
    *) say "unknown image $1; there are: platform, sandbox, jobs, training, evaluation, local-model" && return 2 ;;
  esac
}

key_of() {
  local sources
  sources=$(sources_of "$1")
  # A file that is listed but gone counts as its absence.
  { echo "$IMAGE_PREFIX $VERSION ${BASE:-} $DEVICE" && for file in $sources; do [[ ! -f $file ]] || sha256sum "$file"; done; } | sha256sum | cut -c 1-16
}

with_docker() {
  docker build --quiet --file "infra/images/$1.Dockerfile" --tag "$IMAGE_PREFIX/$1:$VERSION" ${BASE:+--build-arg BASE="$BASE"} \
    --build-arg VERSION="$VERSION" --build-arg REVISION="$REVISION" --build-arg DEVICE="$DEVICE" . >&2
  docker save --output "$2" "$IMAGE_PREFIX/$1:$VERSION"
}

buildah_here() {
  buildah --root "$CACHE/storage" --runroot "$CACHE/run" --storage-driver vfs "$@"
}

with_buildah() {
  local arguments=(--build-arg VERSION="$VERSION" --build-arg REVISION="$REVISION" --build-arg UV="$(uv_image)")
  [[ $1 != training ]] || arguments+=(--build-arg DEVICE="$DEVICE")
  local base
  base=$(base_image)
  [[ -z $base ]] || arguments+=(--build-arg BASE="$base")
  if [[ -f $CERTIFICATES/ca-certificates.crt ]]; then
    arguments+=(--volume "$CERTIFICATES:$CERTIFICATES:ro" --build-arg SSL_CERT_FILE="$CERTIFICATES/ca-certificates.crt")
  fi
  buildah_here build --quiet --isolation chroot "${arguments[@]}" --file "infra/images/$1.Dockerfile" \
    --tag "$IMAGE_PREFIX/$1:$VERSION" . >/dev/null
  buildah_here push --quiet "$IMAGE_PREFIX/$1:$VERSION" "oci-archive:$2:$IMAGE_PREFIX/$1:$VERSION" >&2
  buildah_here rmi --force "$IMAGE_PREFIX/$1:$VERSION" >/dev/null
}

# The uv of this machine as an image, so that no registry is needed for it.
uv_image() {
  local name uv=$UV_PROGRAM
  name=localhost/uv:$(sha256sum "$uv" | cut -c 1-16)
  buildah_here inspect --type image "$name" >/dev/null 2>&1 || scratch_image "$name" "$uv" /uv
  echo "$name"
}

# Nothing where the Dockerfile's own base can be pulled, else a Debian with its Python.
base_image() {
  local name=localhost/python-$DEBIAN:1 tree=$CACHE/$DEBIAN
  if [[ -n ${BASE:-} ]]; then
    echo "$BASE"
  elif ! buildah_here inspect --type image "$name" >/dev/null 2>&1; then
    timeout 60 "$(command -v buildah)" --root "$CACHE/storage" --runroot "$CACHE/run" --storage-driver vfs \
      pull --quiet python:3.12-slim-bookworm >/dev/null 2>&1 && return
    say "no registry answers: making a Debian $DEBIAN with debootstrap"
    rm -rf "$tree"
    debootstrap --variant=minbase --include=python3,ca-certificates "$DEBIAN" "$tree" >"$CACHE/debootstrap.log" 2>&1
    rm -rf "$tree"/{var/cache/apt,var/lib/apt/lists,usr/share/doc,usr/share/man,usr/share/locale}/* "$tree"/dev/*
    tar -C "$tree" -cf "$tree.tar" . && scratch_image "$name" "$tree.tar" /
    rm -rf "$tree" "$tree.tar"
    echo "$name"
  else
    echo "$name"
  fi
}

# An image of one file, or of what a tar holds.
scratch_image() {
  local container
  container=$(buildah_here from scratch)
  buildah_here add --quiet "$container" "$2" "$3" >/dev/null
  buildah_here commit --quiet "$container" "$1" >/dev/null
  buildah_here rm "$container" >/dev/null
}

main() {
  local name key build=with_buildah
  engine_runs && build=with_docker
  mkdir -p "$OUT" "$CACHE"
  exec 9>"$CACHE/lock" && flock 9 # one at a time: they share a store
  for name in "$@"; do
    key=$(key_of "$name")
    if [[ -f $OUT/$name.tar && -f $OUT/$name.key && $(<"$OUT/$name.key") == "$key" ]]; then
      say "$OUT/$name.tar is up to date"
      continue
    fi
    rm -f "$OUT/$name".{tar,key}
    SECONDS=0
    "$build" "$name" "$OUT/$name.tar"
    echo "$key" >"$OUT/$name.key"
    say "$OUT/$name.tar: $IMAGE_PREFIX/$name:$VERSION, $(du -m "$OUT/$name.tar" | cut -f 1) MB, $SECONDS s"
  done
}

if ! engine_runs; then
  # shellcheck source=infra/packages.sh
  source infra/packages.sh
  { command -v buildah && command -v debootstrap; } >/dev/null || need_packages buildah debootstrap
  # shellcheck source=infra/bootstrap.sh
  source infra/bootstrap.sh
  UV_PROGRAM=$UV
fi
main "$@"
