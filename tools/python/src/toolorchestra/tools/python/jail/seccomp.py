"""A seccomp filter that allows what computing needs and nothing else. It needs no privileges.

Not on the list, so refused with EPERM: internet and all other sockets, starting programs or processes, changing owners, modes
and times of files, signals to others, mounting, tracing, io_uring, keys, namespaces.
"""

import ctypes
import struct
from typing import Final

from toolorchestra.tools.python.jail.kernel import SECCOMP, Kernel

_ALLOWED: Final[tuple[tuple[str, int, int], ...]] = (
    # name, x86_64, aarch64
    ("read", 0, 63), ("write", 1, 64), ("close", 3, 57), ("fstat", 5, 80), ("lseek", 8, 62), ("mmap", 9, 222),
    ("mprotect", 10, 226), ("munmap", 11, 215), ("brk", 12, 214), ("rt_sigaction", 13, 134), ("rt_sigprocmask", 14, 135),
    ("rt_sigreturn", 15, 139), ("pread64", 17, 67), ("pwrite64", 18, 68), ("readv", 19, 65), ("writev", 20, 66),
    ("mremap", 25, 216), ("msync", 26, 227), ("madvise", 28, 233), ("dup", 32, 23), ("dup3", 292, 24),
    ("nanosleep", 35, 101), ("getitimer", 36, 102), ("setitimer", 38, 103), ("getpid", 39, 172), ("sendfile", 40, 71),
    ("recvfrom", 45, 207), ("shutdown", 48, 210), ("getsockname", 51, 204), ("getpeername", 52, 205),
    ("setsockopt", 54, 208), ("getsockopt", 55, 209), ("exit", 60, 93), ("wait4", 61, 260), ("uname", 63, 160),
    ("flock", 73, 32), ("fsync", 74, 82), ("fdatasync", 75, 83), ("ftruncate", 77, 46), ("getcwd", 79, 17),
    ("chdir", 80, 49), ("fchdir", 81, 50), ("umask", 95, 166), ("gettimeofday", 96, 169), ("getrlimit", 97, 163),
    ("setrlimit", 160, 164), ("getrusage", 98, 165), ("sysinfo", 99, 179), ("times", 100, 153), ("getuid", 102, 174),
    ("getgid", 104, 176), ("geteuid", 107, 175), ("getegid", 108, 177), ("getppid", 110, 173), ("getpgid", 121, 155),
    ("getsid", 124, 156), ("getgroups", 115, 158), ("getresuid", 118, 148), ("getresgid", 120, 150),
    ("rt_sigpending", 127, 136), ("rt_sigtimedwait", 128, 137), ("rt_sigsuspend", 130, 133), ("sigaltstack", 131, 132),
    ("statfs", 137, 43), ("fstatfs", 138, 44), ("getpriority", 140, 141), ("gettid", 186, 178), ("futex", 202, 98),
    ("sched_yield", 24, 124), ("sched_getaffinity", 204, 123), ("getdents64", 217, 61), ("set_tid_address", 218, 96),
    ("restart_syscall", 219, 128), ("fadvise64", 221, 223), ("clock_gettime", 228, 113), ("clock_getres", 229, 114),
    ("clock_nanosleep", 230, 115), ("exit_group", 231, 94), ("epoll_ctl", 233, 21), ("epoll_pwait", 281, 22),
    ("waitid", 247, 95), ("mkdirat", 258, 34), ("newfstatat", 262, 79), ("unlinkat", 263, 35), ("renameat", 264, 38),
    ("renameat2", 316, 276), ("symlinkat", 266, 36), ("readlinkat", 267, 78), ("faccessat", 269, 48),
    ("faccessat2", 439, 439), ("pselect6", 270, 72), ("ppoll", 271, 73), ("set_robust_list", 273, 99),
    ("timerfd_create", 283, 85), ("timerfd_settime", 286, 86), ("timerfd_gettime", 287, 87), ("eventfd2", 290, 19),
    ("epoll_create1", 291, 20), ("pipe2", 293, 59), ("fallocate", 285, 47), ("preadv", 295, 69), ("pwritev", 296, 70),
    ("getcpu", 309, 168), ("getrandom", 318, 278), ("memfd_create", 319, 279), ("copy_file_range", 326, 285),
    ("statx", 332, 291), ("rseq", 334, 293), ("membarrier", 324, 283), ("close_range", 436, 436),
)  # fmt: skip
# Older forms that only x86_64 has.
_ALLOWED_X86: Final = {
    "stat": 4, "lstat": 6, "poll": 7, "access": 21, "pipe": 22, "select": 23, "dup2": 33, "pause": 34, "alarm": 37,
    "rename": 82, "mkdir": 83, "rmdir": 84, "unlink": 87, "symlink": 88, "readlink": 89, "getpgrp": 111, "time": 201,
    "epoll_create": 213, "epoll_wait": 232, "eventfd": 284,
}  # fmt: skip
_CLONE, _CLONE3, _FCNTL, _IOCTL, _KILL, _TGKILL = (56, 220), (435, 435), (72, 25), (16, 29), (62, 129), (234, 131)
_OPENAT, _PRCTL, _PRLIMIT, _SENDTO, _SOCKETPAIR = (257, 56), (157, 167), (302, 261), (44, 206), (53, 199)
_OPEN_X86: Final = 2

_ARCHITECTURES: Final = (0xC000003E, 0xC00000B7)
_X32_BIT: Final = 0x40000000
_ALLOW, _KILL_PROCESS, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_SET_MODE_FILTER: Final = 1

_LOAD, _AND, _JUMP_EQUAL, _JUMP_NOT_BELOW, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16

_THREAD, _NEW_NAMESPACES = 0x00010000, 0x7E020000
_FCNTL_COMMANDS: Final = (*range(8), 36, 37, 38, 1030, 1032, 1033, 1034)  # none that sends signals
_IOCTLS: Final = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # of terminals, sizes and descriptors, read-only
_PR_NAMES: Final = (15, 16)
_ACCESS_AND_TRUNCATE, _TRUNCATE = 0o1003, 0o1000
_AF_UNIX, _TYPE_MASK, _SOCK_STREAM = 1, 0xF, 1


class Program:
    """A small assembler of the kernel's filter machine."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def add(self, code: int, value: int, *, if_true: int = 0, if_false: int = 0) -> None:
        self.lines.append(struct.pack("HBBI", code, if_true, if_false, value))

    def answer(self, value: int) -> None:
        self.add(_RETURN, value)

    def answer_if_number(self, number: int, value: int) -> None:
        self.add(_JUMP_EQUAL, number, if_false=1)
        self.answer(value)

    def load_argument(self, index: int, *, high: bool = False) -> None:
        self.add(_LOAD, _ARGUMENTS_AT + 8 * index + 4 * high)

    def allow_if_equal(self, value: int) -> None:
        self.add(_JUMP_EQUAL, value, if_false=1)
        self.answer(_ALLOW)

    def refuse_unless_equal(self, value: int) -> None:
        self.add(_JUMP_EQUAL, value, if_true=1)
        self.answer(_ERRNO | _EPERM)

    def mask(self, value: int) -> None:
        self.add(_AND, value)

    def on_number(self, number: int, rule: "Program") -> None:
        """``rule`` answers for one system call; it must end with an answer on every path."""
        self.add(_JUMP_EQUAL, number, if_false=len(rule))
        self.lines.extend(rule.lines)

    def __len__(self) -> int:
        return len(self.lines)

    def assemble(self) -> bytes:
        return b"".join(self.lines)


def build(column: int, pid: int) -> bytes:
    """The filter for x86_64 (column 0) or aarch64 (1); ``pid`` is the only process that may be signalled."""
    program = Program()
    program.add(_LOAD, _ARCHITECTURE_AT)
    program.add(_JUMP_EQUAL, _ARCHITECTURES[column], if_true=1)
    program.answer(_KILL_PROCESS)
    program.add(_LOAD, _NUMBER_AT)
    if column == 0:
        program.add(_JUMP_NOT_BELOW, _X32_BIT, if_false=1)
        program.answer(_ERRNO | _EPERM)
        for number in _ALLOWED_X86.values():
            program.answer_if_number(number, _ALLOW)
        program.on_number(_OPEN_X86, _opening(flags_at=1))
    for _, *numbers in _ALLOWED:
        program.answer_if_number(numbers[column], _ALLOW)
    program.answer_if_number(_CLONE3[column], _ERRNO | _ENOSYS)  # the C library then falls back to clone
    for pair, rule in _rules(pid):
        program.on_number(pair[column], rule)
    program.answer(_ERRNO | _EPERM)
    return program.assemble()


def install(kernel: Kernel, pid: int) -> None:
    """Put the filter on this process for good; privileges must have been given up before (no_new_privs)."""
    code = build(kernel.column, pid)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("H6xP", len(code) // struct.calcsize("HBBI"), ctypes.addressof(buffer))
    kernel.syscall(SECCOMP, _SET_MODE_FILTER, 0, ctypes.create_string_buffer(header, len(header)))


def _rules(pid: int) -> list[tuple[tuple[int, int], Program]]:
    return [
        (_CLONE, _threads_only()),
        (_FCNTL, _one_of(1, _FCNTL_COMMANDS)),
        (_IOCTL, _one_of(1, _IOCTLS)),
        (_KILL, _one_of(0, (pid,))),
        (_TGKILL, _one_of(0, (pid,))),
        (_PRCTL, _one_of(0, _PR_NAMES)),
        (_PRLIMIT, _one_of(0, (0, pid))),
        (_OPENAT, _opening(flags_at=2)),
        (_SENDTO, _without_address()),
        (_SOCKETPAIR, _unix_stream()),
    ]


def _one_of(argument: int, values: tuple[int, ...]) -> Program:
    rule = Program()
    rule.load_argument(argument)
    for value in values:
        rule.allow_if_equal(value)
    rule.answer(_ERRNO | _EPERM)
    return rule


def _threads_only() -> Program:
    rule = Program()
    rule.load_argument(0)
    rule.mask(_THREAD | _NEW_NAMESPACES)
    rule.allow_if_equal(_THREAD)
    rule.answer(_ERRNO | _EPERM)
    return rule


def _opening(*, flags_at: int) -> Program:
    """Landlock of older kernels overlooks a file opened for reading with O_TRUNC; nobody needs that."""
    rule = Program()
    rule.load_argument(flags_at)
    rule.mask(_ACCESS_AND_TRUNCATE)
    rule.add(_JUMP_EQUAL, _TRUNCATE, if_false=1)
    rule.answer(_ERRNO | _EPERM)
    rule.answer(_ALLOW)
    return rule


def _without_address() -> Program:
    rule = Program()
    for high in (False, True):
        rule.load_argument(4, high=high)
        rule.refuse_unless_equal(0)
    rule.answer(_ALLOW)
    return rule


def _unix_stream() -> Program:
    """A pair of sockets connected to each other, as event loops use to wake themselves."""
    rule = Program()
    rule.load_argument(0)
    rule.refuse_unless_equal(_AF_UNIX)
    rule.load_argument(1)
    rule.mask(_TYPE_MASK)
    rule.refuse_unless_equal(_SOCK_STREAM)
    rule.answer(_ALLOW)
    return rule
