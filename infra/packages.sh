# Sourced: `need_packages NAME…` installs Debian packages when root, else prints the exact command and fails.
need_packages() {
  local install="apt-get install -y --no-install-recommends $*"
  if ((EUID != 0)) || ! command -v apt-get >/dev/null; then
    echo "missing packages (Debian's names); run: sudo $install" >&2
    return 2
  fi
  echo "installing $* …" >&2
  DEBIAN_FRONTEND=noninteractive $install >/dev/null 2>&1 ||
    { apt-get update >/dev/null && DEBIAN_FRONTEND=noninteractive $install >/dev/null; }
}
