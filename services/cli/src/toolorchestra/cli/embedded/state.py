"""The state file of a running platform, by which a second command finds it.

The running command holds a lock for as long as it lives and the kernel drops it with the process, so a state file without
the lock is what a killed platform left behind.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

import psutil
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toolorchestra.cli.embedded.parts import private_folder, try_lock, write_private
from toolorchestra.core.errors import ConflictError

STATE_FILE: Final = "state.json"
LOCK_FILE: Final = "platform.lock"


class ProcessState(BaseModel):
    """One child process. ``started`` (seconds since 1970) tells it from a later process with the same id."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pid: int
    started: float
    url: str = ""
    log: str = ""

    def process(self) -> psutil.Process | None:
        """The process, if it still is the one that was meant."""
        try:
            found = psutil.Process(self.pid)
            return found if abs(found.create_time() - self.started) < 1 and _runs(found) else None
        except psutil.NoSuchProcess:
            return None


class PlatformState(BaseModel):
    """What runs: the command's own process, its parts, and URLs for people and clients."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pid: int
    urls: Mapping[str, str] = Field(default_factory=dict)
    parts: Mapping[str, ProcessState] = Field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """The state file, whether or not anything still runs."""
        try:
            return cls.model_validate_json((folder / STATE_FILE).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def save(self, folder: Path) -> None:
        """Write the state file, readable by this user only: URLs may hold passwords."""
        write_private(folder / STATE_FILE, self.model_dump_json(indent=2))


def running_platform(folder: Path) -> PlatformState | None:
    """The platform that runs in ``folder`` now, or None."""
    lock = folder / LOCK_FILE
    if not lock.exists():
        return None
    with lock.open("rb") as file:
        return None if try_lock(file.fileno()) else PlatformState.load(folder)


def hold_platform(folder: Path) -> int:
    """Become the one platform of ``folder``; returns the open lock. Raises ConflictError when another one runs."""
    lock = os.open(private_folder(folder) / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    if try_lock(lock):
        return lock
    os.close(lock)
    other = PlatformState.load(folder)
    process = f"process {other.pid}" if other else "another process"
    raise ConflictError(f"a platform already runs in {folder} ({process})", hint="use it, or stop it first")


def end_leftovers(folder: Path, *, wait_ms: int = 10_000) -> None:
    """End parts that outlived a killed platform, by process id, and forget them. Call it with the lock held."""
    left = PlatformState.load(folder)
    if left is None:
        return
    alive = [process for part in left.parts.values() if (process := part.process())]
    for process in alive:
        process.terminate()
    deadline = time.monotonic() + wait_ms / 1000
    while (stubborn := [process for process in alive if _runs(process)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    for process in stubborn:
        process.kill()
    (folder / STATE_FILE).unlink(missing_ok=True)


def _runs(process: psutil.Process) -> bool:
    """Whether a process still does anything: one that ended may wait long for a careless init to notice."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
