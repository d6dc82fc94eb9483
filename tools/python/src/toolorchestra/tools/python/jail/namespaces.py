"""Own network, mounts, processes, host name and IPC, by unshare(2): as root, or by way of an own user namespace."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from toolorchestra.tools.python.jail.kernel import PIVOT_ROOT, Kernel, KernelError

_NEW_MOUNTS, _NEW_HOSTNAME, _NEW_IPC = 0x00020000, 0x04000000, 0x08000000
_NEW_USER, _NEW_PROCESSES, _NEW_NETWORK = 0x10000000, 0x20000000, 0x40000000
_REST: Final = _NEW_MOUNTS | _NEW_HOSTNAME | _NEW_IPC | _NEW_PROCESSES | _NEW_NETWORK
_READ_ONLY, _NO_SUID, _NO_DEVICES, _REMOUNT, _BIND, _RECURSIVE, _PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
_LOCKED_FLAGS: Final = 0xF  # read-only, no set-uid, no devices, no programs: a bind must keep what its source has
_DETACH: Final = 2
_WORK: Final = "tmp"


def enter(kernel: Kernel) -> str | None:
    """Take own namespaces; the process forked next is the first of its own. Returns how, or None where it is forbidden."""
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        try:
            kernel.unshare(_REST)
        except KernelError:
            pass  # root of a container without the capability: try as any other user would
        else:
            return "privileged"
    try:
        kernel.unshare(_REST | _NEW_USER)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    except OSError:
        return None
    return "user"


def change_root(kernel: Kernel, *, base: Path, read: Iterable[Path], work_bytes: int) -> Path:
    """Make a root that holds only ``read`` (read-only), a few devices and an empty working folder in memory.

    ``base`` is an empty folder to build on. Returns the working folder as seen inside. Raises OSError where mounting is
    forbidden; then nothing of the root has changed.
    """
    kernel.mount("none", "/", None, _RECURSIVE | _PRIVATE)
    kernel.mount("sandbox", str(base), "tmpfs", _NO_SUID | _NO_DEVICES, f"size={work_bytes},nr_inodes=4096,mode=0755")
    paths = list(read)
    for real in sorted({path.resolve() for path in paths}):
        _show(kernel, base, real)
    for path in paths:
        _link(base, path)
    for device in ("null", "zero", "random", "urandom"):
        _bind(kernel, Path("/dev", device), base / "dev" / device)
    work = base / _WORK
    work.mkdir(mode=0o700)
    os.chdir(base)
    kernel.syscall(PIVOT_ROOT, b".", b".")
    kernel.umount(".", _DETACH)
    os.chdir("/")
    return Path("/", _WORK)


def _show(kernel: Kernel, base: Path, path: Path) -> None:
    """Bind a path read-only; a parent that is shown already shows its children."""
    target = base / path.relative_to("/")
    if target.exists():
        return
    _bind(kernel, path, target)
    flags = os.statvfs(target).f_flag & _LOCKED_FLAGS
    kernel.mount("none", str(target), None, _REMOUNT | _BIND | _READ_ONLY | _NO_SUID | flags)


def _link(base: Path, path: Path) -> None:
    """A path that led through symbolic links outside leads to the same place inside."""
    target = base / path.relative_to("/")
    if not os.path.lexists(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path.resolve())


def _bind(kernel: Kernel, source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if stat.S_ISDIR(source.stat().st_mode):
        target.mkdir(exist_ok=True)
    else:
        target.touch()
    kernel.mount(str(source), str(target), None, _BIND | _RECURSIVE)
