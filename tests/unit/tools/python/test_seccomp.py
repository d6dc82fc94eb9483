"""The filter, run on an interpreter of the kernel's filter machine: what it allows and what it refuses."""

import struct
from dataclasses import dataclass

import pytest

from toolorchestra.tools.python.jail.seccomp import build

ALLOW, EPERM, ENOSYS, KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000
X86, ARM = 0, 1
ARCHITECTURES = (0xC000003E, 0xC00000B7)
PID = 4711


@dataclass(frozen=True)
class Call:
    number: int
    arguments: tuple[int, ...] = ()
    architecture: int | None = None

    def data(self, column: int) -> bytes:
        arguments = (*self.arguments, *([0] * 6))[:6]
        return struct.pack("IIQ6Q", self.number, self.architecture or ARCHITECTURES[column], 0, *arguments)


def decide(column: int, call: Call) -> int:
    """The answer of the filter: classic BPF, as far as the filter uses it."""
    program = [struct.unpack_from("HBBI", build(column, PID), at) for at in range(0, len(build(column, PID)), 8)]
    data, accumulator, place = call.data(column), 0, 0
    while True:
        code, if_true, if_false, value = program[place]
        place += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("I", data, value)
        elif code == 0x54:
            accumulator &= value
        elif code == 0x15:
            place += if_true if accumulator == value else if_false
        elif code == 0x35:
            place += if_true if accumulator >= value else if_false
        elif code == 0x06:
            return value
        else:
            raise AssertionError(f"unknown instruction {code:#x}")


@pytest.mark.parametrize("column", [X86, ARM])
@pytest.mark.parametrize(
    ("name", "numbers", "arguments", "answer"),
    [
        ("read", (0, 63), (0,), ALLOW),
        ("mmap", (9, 222), (), ALLOW),
        ("getrandom", (318, 278), (), ALLOW),
        ("socket(AF_INET)", (41, 198), (2, 1, 0), EPERM),
        ("socket(AF_INET6)", (41, 198), (10, 1, 0), EPERM),
        ("socket(AF_UNIX)", (41, 198), (1, 1, 0), EPERM),
        ("socket(AF_NETLINK)", (41, 198), (16, 3, 0), EPERM),
        ("connect", (42, 203), (), EPERM),
        ("bind", (49, 200), (), EPERM),
        ("sendmsg", (46, 211), (), EPERM),
        ("socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)", (53, 199), (1, 1 | 0o2000000), ALLOW),
        ("socketpair(AF_UNIX, SOCK_DGRAM)", (53, 199), (1, 2), EPERM),
        ("socketpair(AF_INET)", (53, 199), (2, 1), EPERM),
        ("sendto without an address", (44, 206), (3, 0, 5, 0, 0), ALLOW),
        ("sendto to an address", (44, 206), (3, 0, 5, 0, 0x7FFF00000000), EPERM),
        ("sendto to a low address", (44, 206), (3, 0, 5, 0, 0x1000), EPERM),
        ("execve", (59, 221), (), EPERM),
        ("execveat", (322, 281), (), EPERM),
        ("clone of a thread", (56, 220), (0x3D0F00,), ALLOW),
        ("clone of a process", (56, 220), (0x01200011,), EPERM),
        ("clone of a thread into a new network", (56, 220), (0x3D0F00 | 0x40000000,), EPERM),
        ("clone3", (435, 435), (), ENOSYS),
        ("unshare", (272, 97), (), EPERM),
        ("setns", (308, 268), (), EPERM),
        ("mount", (165, 40), (), EPERM),
        ("ptrace", (101, 117), (), EPERM),
        ("io_uring_setup", (425, 425), (), EPERM),
        ("bpf", (321, 280), (), EPERM),
        ("keyctl", (250, 219), (), EPERM),
        ("pidfd_open", (434, 434), (), EPERM),
        ("process_vm_readv", (310, 270), (), EPERM),
        ("kill of itself", (62, 129), (PID, 15), ALLOW),
        ("kill of another", (62, 129), (1, 9), EPERM),
        ("kill of all", (62, 129), (0xFFFFFFFFFFFFFFFF, 9), EPERM),
        ("tgkill of another", (234, 131), (1, 1, 9), EPERM),
        ("openat for writing", (257, 56), (0, 0, 0o1101), ALLOW),
        ("openat for reading with O_TRUNC", (257, 56), (0, 0, 0o1000), EPERM),
        ("truncate", (76, 45), (), EPERM),
        ("fchmodat", (268, 53), (), EPERM),
        ("fchownat", (260, 54), (), EPERM),
        ("utimensat", (280, 88), (), EPERM),
        ("fcntl(F_GETFL)", (72, 25), (1, 3), ALLOW),
        ("fcntl(F_SETOWN)", (72, 25), (1, 8), EPERM),
        ("fcntl(F_SETSIG)", (72, 25), (1, 10), EPERM),
        ("ioctl(TCGETS)", (16, 29), (1, 0x5401), ALLOW),
        ("ioctl(TIOCSTI)", (16, 29), (1, 0x5412), EPERM),
        ("prctl(PR_SET_NAME)", (157, 167), (15,), ALLOW),
        ("prctl(PR_SET_PDEATHSIG)", (157, 167), (1,), EPERM),
        ("prctl(PR_SET_DUMPABLE)", (157, 167), (4,), EPERM),
        ("prlimit of itself", (302, 261), (0,), ALLOW),
        ("prlimit of another", (302, 261), (1,), EPERM),
        ("setsid", (112, 157), (), EPERM),
        ("setuid", (105, 146), (), EPERM),
        ("a call of the future", (999, 999), (), EPERM),
    ],
)
def test_a_system_call_is_answered_as_meant(
    column: int, name: str, numbers: tuple[int, int], arguments: tuple[int, ...], answer: int
) -> None:
    assert decide(column, Call(numbers[column], arguments)) == answer, name


def test_another_architecture_is_killed() -> None:
    i386 = 0x40000003
    assert decide(X86, Call(1, architecture=i386)) == KILL


def test_the_x32_numbers_are_refused() -> None:
    assert decide(X86, Call(0x40000000 | 1)) == EPERM


def test_every_old_form_of_writing_modes_is_refused_on_x86() -> None:
    chmod, chown, creat, utime, mknod, vfork, fork = 90, 92, 85, 132, 133, 58, 57
    assert {decide(X86, Call(number)) for number in (chmod, chown, creat, utime, mknod, vfork, fork)} == {EPERM}
    assert decide(X86, Call(2, (0, 0o1000))) == EPERM
    assert decide(X86, Call(2, (0, 0o0))) == ALLOW
