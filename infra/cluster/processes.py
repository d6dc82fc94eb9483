"""Looks at processes by their ids, and ends them by these alone."""

import os
import signal
from contextlib import suppress
from pathlib import Path


def started(pid: int) -> int:
    """When a process began, in the kernel's ticks; 0 when it has ended. An id is used again, the two together are not."""
    fields = _status(pid)
    return int(fields[19]) if fields and fields[0] != "Z" else 0


def children(pid: int) -> list[int]:
    """The ids of a process's children that have not ended."""
    ids = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    return [one for one in ids if (fields := _status(one)) and fields[1] == str(pid) and fields[0] != "Z"]


def resident_mb(pid: int) -> float:
    """The memory that a process holds."""
    fields = _status(pid)
    return int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 1e6 if fields else 0.0


def command(pid: int) -> list[str]:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace").split("\0")[:-1]
    return []


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _status(pid: int) -> list[str]:
    """The fields of ``/proc/PID/stat`` after the name, which may hold anything; none when there is no such process."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(") ")[2].split()
    return []
