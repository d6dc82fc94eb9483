"""Calls into the Linux kernel that the standard library does not offer."""

import ctypes
import os
from typing import Final

# Numbers of system calls: x86_64, aarch64.
CAPSET: Final = (126, 91)
PIVOT_ROOT: Final = (155, 41)
SECCOMP: Final = (317, 277)
LANDLOCK_CREATE_RULESET: Final = (444, 444)
LANDLOCK_ADD_RULE: Final = (445, 445)
LANDLOCK_RESTRICT_SELF: Final = (446, 446)

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_NO_NEW_PRIVS: Final = 38

_MALLOPT_ARENAS: Final = -8
_MACHINES: Final = {"x86_64": 0, "aarch64": 1, "arm64": 1}


class KernelError(OSError):
    """A layer that this kernel or container does not grant."""


class Kernel:
    """The C library, and the column of the tables that belongs to this machine."""

    def __init__(self) -> None:
        machine = os.uname().machine
        if machine not in _MACHINES:
            raise KernelError(0, f"no table of system calls for {machine}")
        self.column = _MACHINES[machine]
        self._libc = ctypes.CDLL(None, use_errno=True)

    def syscall(self, numbers: tuple[int, int], *arguments: object) -> int:
        """One raw system call. Raises KernelError with the kernel's reason."""
        return self._checked(self._libc.syscall(ctypes.c_long(numbers[self.column]), *map(_long, arguments)))

    def prctl(self, option: int, value: int = 0) -> None:
        self._checked(self._libc.prctl(option, *map(_long, (value, 0, 0, 0))))

    def unshare(self, flags: int) -> None:
        self._checked(self._libc.unshare(flags))

    def mount(self, source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
        kind_bytes, data_bytes = (None if text is None else text.encode() for text in (kind, data))
        self._checked(self._libc.mount(source.encode(), target.encode(), kind_bytes, ctypes.c_ulong(flags), data_bytes))

    def umount(self, target: str, flags: int) -> None:
        self._checked(self._libc.umount2(target.encode(), flags))

    def use_one_heap(self) -> None:
        """Threads share a heap: an own one for each would take up the address space of the whole limit."""
        if hasattr(self._libc, "mallopt"):  # glibc only
            self._libc.mallopt(_MALLOPT_ARENAS, 1)

    def refuses_sockets(self) -> bool:
        """Whether an internet socket cannot even be created: tried, not assumed."""
        descriptor = int(self._libc.socket(2, 1, 0))
        if descriptor >= 0:
            os.close(descriptor)
        return descriptor < 0

    @staticmethod
    def _checked(result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise KernelError(number, os.strerror(number))
        return int(result)


def _long(value: object) -> object:
    return ctypes.c_long(value) if isinstance(value, int) else value
