"""Resource limits, and giving up every privilege."""

import ctypes
import os
import resource
import struct
from pathlib import Path
from typing import Final

from toolorchestra.tools.python.jail.kernel import CAPSET, PR_SET_DUMPABLE, Kernel

_CAPABILITY_VERSION_3: Final = 0x20080522
FIRST_SPARE_USER: Final = 2_000_000_000  # above what systems give out; one per call, so that calls cannot touch each other
_NOBODY: Final = 65_534
_OPEN_FILES: Final = 64
_THREADS: Final = 64


def apply(*, memory_bytes: int, file_bytes: int, cpu_seconds: int, own_user: bool) -> None:
    """Set hard limits; ``own_user`` says that nothing else counts against this user's processes."""
    threads = _THREADS if own_user else _threads_of_all() + _THREADS
    for kind, limit in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_NPROC, threads),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        value = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (value, value))


def choose_user(spare: int, *, needed: Path) -> int | None:
    """For root: ``spare``, or else nobody, if that user can read ``needed``; None if neither can or we are not root."""
    if os.geteuid() != 0:
        return None
    for user in (spare, _NOBODY):
        try:
            os.seteuid(user)
        except OSError:
            continue  # this container knows only a few user ids
        readable = os.access(needed, os.R_OK, effective_ids=True)
        os.seteuid(0)
        if readable:
            return user
    return None


def become(user: int) -> None:
    """Be ``user`` from now on, without groups."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def drop_privileges(kernel: Kernel) -> None:
    """No capabilities, and no other process may look inside."""
    header = ctypes.create_string_buffer(struct.pack("Ii", _CAPABILITY_VERSION_3, 0), 8)
    kernel.syscall(CAPSET, header, ctypes.create_string_buffer(24))
    kernel.prctl(PR_SET_DUMPABLE, 0)


def _threads_of_all() -> int:
    """All threads of the machine: an upper bound of this user's."""
    return int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
