# Finds Python and uv; sourced by the scripts beside it. Sets PYTHON and UV.
# uv is taken from PATH when it is recent, else installed once into .uv/ with nothing but the Python that is there.

readonly UV_PINNED=0.13.9
readonly UV_OLDEST=0.9

fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; }

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11 python; do
    if [[ -n $candidate ]] && command -v "$candidate" >/dev/null && fits "$candidate"; then
      command -v "$candidate"
      return
    fi
  done
  echo "No Python 3.11, 3.12 or 3.13 was found; install one, or name it: make PYTHON=/path/to/python3.12 …" >&2
  return 1
}

recent() { [[ $(printf '%s\n' "$UV_OLDEST" "$1" | sort -V | head -n 1) == "$UV_OLDEST" ]]; }

find_uv() {
  local version
  if command -v uv >/dev/null && version=$(uv --version | cut -d ' ' -f 2) && recent "$version"; then
    command -v uv
    return
  fi
  if [[ ! -x .uv/bin/uv || $(.uv/bin/uv --version) != "uv $UV_PINNED"* ]]; then
    echo "Installing uv $UV_PINNED into .uv/ …" >&2
    rm -rf .uv
    "$PYTHON" -m venv .uv >&2 || { echo "Python lacks its venv module; on Debian and Ubuntu: apt install python3-venv" >&2; return 1; }
    .uv/bin/pip install --quiet --disable-pip-version-check "uv==$UV_PINNED" >&2
  fi
  echo "$PWD/.uv/bin/uv"
}

PYTHON=$(find_python)
UV=$(find_uv)
