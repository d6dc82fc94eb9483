"""Ties a child process to its parent: the kernel ends the child when the parent dies, however it dies.

Run as a program it sets the leash and then becomes the command it was given, so any program can be leashed. It is started
by file with ``python -I -S``, imports the standard library only and costs about ten milliseconds. Only Linux has such a
leash; elsewhere a part that survives a killed parent is ended at the next start, see ``supervisor``.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def die_with_parent(end: signal.Signals, *, parent: int) -> None:
    """Ask the kernel to send ``end`` to this process when ``parent`` dies; exits at once if it already has.

    A change of user clears the leash, so a process that changes its user calls this again afterwards.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, int(end), 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        raise SystemExit(0)


def leashed(argv: Sequence[str], *, end: signal.Signals = signal.SIGTERM) -> tuple[str, ...]:
    """The command that runs ``argv`` on a leash held by this process, which sends ``end`` by dying."""
    return (sys.executable, "-I", "-S", __file__, str(int(end)), str(os.getpid()), *argv)


def main(arguments: Sequence[str]) -> None:
    """``SIGNAL PARENT COMMAND…``: set the leash and become the command."""
    end, parent, *command = arguments
    die_with_parent(signal.Signals(int(end)), parent=int(parent))
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
