#!/bin/sh
# Takes what only GPUs need out of an installation of PyTorch: usage: without-gpu.sh SITE_PACKAGES
# The ordinary build links NVIDIA's libraries, 2.7 GB, but calls none of the large ones before it has found a GPU. Each large one
# that is linked becomes an empty stand-in with the names that PyTorch looks for; the others go. The small ones stay: they are
# asked whether there is a GPU. Needs gcc and binutils.
set -eu
cd "$1"
draft=$(mktemp -d)
of_torch() { find torch -name '*.so*' -exec "$@" {} +; }
of_torch readelf --dynamic | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort -u >"$draft/linked"
of_torch nm --dynamic --undefined-only | sed -n 's/^ *U \([^@]*\).*/\1/p' | sort -u >"$draft/wanted"

stand_in() {
  nm --dynamic --defined-only "$1" | awk '$2 ~ /[A-Z]/ { print $3 }' | sort -u >"$draft/defined"
  version=$(sed -n 's/.*@@//p' "$draft/defined" | head -n 1)
  echo "${version:-none} { *; };" >"$draft/versions"
  sed 's/@.*//' "$draft/defined" | sort -u | comm -12 - "$draft/wanted" | sed 's/.*/int &(void) { return 1; }/' >"$draft/stand-in.c"
  rm "$1"
  gcc -shared -nostdlib -w -fno-builtin "$draft/stand-in.c" -Wl,-soname,"${1##*/}" \
    ${version:+-Wl,--version-script="$draft/versions"} -o "$1"
}

find nvidia -name 'lib*.so*' -size +8M | while read -r library; do
  if grep -qxF "${library##*/}" "$draft/linked"; then stand_in "$library"; else rm "$library"; fi
done
rm -r "$draft"
