"""What the supervisor starts: a command, how to see that it is ready, and how to end it."""

import fcntl
import os
import socket
import stat
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGTERM, Signals
from typing import Final, TypeAlias

from toolorchestra.core.errors import ConflictError

ReadyCheck: TypeAlias = Callable[[], Awaitable[bool]]
LOOPBACK: Final = "127.0.0.1"


async def ready_at_once() -> bool:
    """For parts that take their work from elsewhere and answer to nobody."""
    return True


@dataclass(frozen=True, slots=True)
class Part:
    """One child process.

    ``env`` is added to the parent's environment. ``ready`` is asked until it says yes. ``stop`` is the signal that ends the
    part cleanly, within ``grace_ms``; it is also what the part gets when its parent is killed. ``url`` is where it answers.
    With ``port`` only a listener of the part's own process makes it ready: another's answer there is none.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    ready: ReadyCheck = ready_at_once
    stop: Signals = SIGTERM
    grace_ms: int = 10_000
    url: str = ""
    port: int | None = None


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def private_folder(folder: Path, *, owners: tuple[int, ...] = ()) -> Path:
    """Create a folder that only its owner can enter: this user, or one of ``owners``.

    Raises ConflictError when something else is there, e.g. a link that another user left in a shared folder.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), *owners):
        raise ConflictError(f"{folder} belongs to somebody else or is not a folder", hint="remove it")
    if stat.S_IMODE(found.st_mode) & 0o077:
        folder.chmod(0o700)
    return folder


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step; nobody else can read it at any moment."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)


def hold_folder(folder: Path, *, wait_ms: int = 15_000) -> None:
    """Keep a data folder to this process and to whatever it becomes.

    The lock passes to programs this process turns into and to their children, and the kernel drops it with the last of
    them. So a server that is still on its way out after a crash is waited for, and no pid file has to be trusted.
    Raises ConflictError when the folder stays in use for ``wait_ms``.
    """
    lock = os.open(folder / "in-use.lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + wait_ms / 1000
    while not try_lock(lock):
        if time.monotonic() > deadline:
            raise ConflictError(f"{folder} is in use by another process", hint="stop the other platform first")
        time.sleep(0.05)
    os.set_inheritable(lock, True)


def try_lock(descriptor: int) -> bool:
    """Take an exclusive lock on an open file, if it is free."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
