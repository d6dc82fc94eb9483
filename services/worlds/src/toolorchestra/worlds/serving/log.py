"""The log of sessions: one append-only file each, so that any process of the machine can rebuild one and go on with it.

A session is a fold of its calls (``worlds.session``), so a line is a call, never a result. Whoever has the file's lock has the
session: it folds what others appended since it last looked, plays its call, and appends it. Files are ``OWNER/WORLD/SESSION``.
"""

import errno
import fcntl
import json
import os
import tempfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from hashlib import blake2b
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO, Final

from toolorchestra.core.errors import ConflictError, InvalidRequestError, UnavailableError
from toolorchestra.core.sessions import SESSION_RULE, is_session
from toolorchestra.worlds.session import Call, CallResult, Session
from toolorchestra.worlds.world import World

SESSIONS: Final = "TOOLORCHESTRA_WORLD_SESSIONS"  # the folder of the logs
KEPT: Final = 256  # sessions in memory; others are folded again when they are needed
_HEAD: Final = {"world", "content"}  # of the first line
_LINE: Final = {"key", "tool", "arguments"}  # of all others


class SessionMissingError(InvalidRequestError):
    """A world's tool was called outside of a session."""

    code = "session_missing"


@dataclass(slots=True)
class _Kept:
    """A session as far as its file was read: up to byte ``end`` of the file ``inode``. ``keys``: which call each key made."""

    session: Session
    inode: int
    end: int = 0
    keys: dict[str, int] = field(default_factory=dict)


class SessionLog:
    """Plays calls of sessions that live in ``folder``. Any number of processes and threads may use the same folder."""

    def __init__(self, folder: Path, *, keep: int = KEPT) -> None:
        self._folder = folder
        self._keep = keep
        self._kept: OrderedDict[Path, _Kept] = OrderedDict()
        self._guard = Lock()

    def call(self, world: World, session: str | None, call: Call, *, owner: str, key: str = "") -> CallResult:
        """Play a call of a session, which begins with its first one. ``owner`` keeps the sessions of tenants apart.

        A call whose idempotency ``key`` was played before is not played again: its result is the one that it had. Raises
        SessionMissingError, ConflictError (the session belongs to other rows, the key to another call), UnavailableError (the
        folder cannot be written), and BrokenToolError, which leaves the session as it was.
        """
        path = self.path(world, session, owner=owner)
        with _locked(path, self._folder) as file:
            kept = self._read(path, file, world)
            if key and key in kept.keys:
                return _again(kept, kept.keys[key], call, key)
            result = kept.session.call(call.tool, call.arguments)
            self._append(path, file, kept, {"key": key, "tool": call.tool, "arguments": dict(call.arguments)})
            return result

    def session(self, world: World, session: str, *, owner: str) -> Session:
        """A session as it stands, rebuilt from its file: a copy, to look at."""
        path = self.path(world, session, owner=owner)
        with _locked(path, self._folder) as file:
            return Session.replay(world, self._read(path, file, world).session.calls)

    def path(self, world: World, session: str | None, *, owner: str) -> Path:
        """The session's file. Raises SessionMissingError without a session, InvalidRequestError for one of other letters."""
        if session is None:
            hint = 'send "toolorchestra": {"session": "any-name"} with the request'
            raise SessionMissingError(f"session: the world {world.name!r} plays within one", param="session", hint=hint)
        if not is_session(session):
            raise InvalidRequestError(f"session: {session[:200]!r} {SESSION_RULE}", param="session", hint="rename it")
        # Some file systems take small and capital letters for the same.
        digest = blake2b(session.encode(), digest_size=4).hexdigest()
        return self._folder / owner / world.name / f"{session}.{digest}.jsonl"

    def _read(self, path: Path, file: BinaryIO, world: World) -> _Kept:
        """The session as its file says, folded from where it was last read."""
        status = os.fstat(file.fileno())
        with self._guard:
            kept = self._kept.pop(path, None)
        if kept is None or kept.inode != status.st_ino or kept.end > status.st_size or kept.session.world is not world:
            kept = _Kept(Session(world), status.st_ino)
        file.seek(kept.end)
        for line in file.read().splitlines(keepends=True):
            if not line.endswith(b"\n"):  # whoever wrote it did not live to end it, and nobody was told of the call
                file.truncate(kept.end)
                break
            _fold(kept, _parse(line, path), path)
            kept.end += len(line)
        if kept.end == 0:
            self._write(file, kept, {"world": world.name, "content": world.content_hash})
        self._put(path, kept)
        return kept

    def _append(self, path: Path, file: BinaryIO, kept: _Kept, line: Mapping[str, Any]) -> None:
        if line["key"]:
            kept.keys[line["key"]] = len(kept.session.calls) - 1
        try:
            self._write(file, kept, line)
        except BaseException:
            with self._guard:  # memory is ahead of the file
                self._kept.pop(path, None)
            raise

    def _write(self, file: BinaryIO, kept: _Kept, line: Mapping[str, Any]) -> None:
        content = json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        file.seek(kept.end)
        try:
            file.write(content)
            file.flush()
        except OSError as error:
            raise _unwritable(self._folder, error) from error
        kept.end += len(content)

    def _put(self, path: Path, kept: _Kept) -> None:
        with self._guard:
            self._kept[path] = kept
            while len(self._kept) > self._keep:
                self._kept.popitem(last=False)


@cache
def log_of(folder: Path) -> SessionLog:
    """The one log of this process for a folder."""
    return SessionLog(folder)


def sessions_folder() -> Path:
    """Where sessions are kept: ``TOOLORCHESTRA_WORLD_SESSIONS``, by default a folder of the user in the temporary one."""
    given = os.environ.get(SESSIONS)
    return Path(given) if given else Path(tempfile.gettempdir()) / f"toolorchestra-world-sessions-{os.getuid()}"


def _parse(line: bytes, path: Path) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise _broken(path) from error
    if not isinstance(found, dict) or not (found.keys() == _HEAD or found.keys() == _LINE):
        raise _broken(path)
    return found


def _fold(kept: _Kept, line: Mapping[str, Any], path: Path) -> None:
    """One stored line: the first names the world, the others are calls."""
    world = kept.session.world
    if "content" in line:
        if line["content"] != world.content_hash:
            raise ConflictError(
                f"session: {path.name} was begun when the world {world.name!r} had other files",
                param="session",
                hint="begin a new session",
            )
        return
    if line["key"]:
        kept.keys[line["key"]] = len(kept.session.calls)
    kept.session.call(line["tool"], line["arguments"])


def _again(kept: _Kept, place: int, call: Call, key: str) -> CallResult:
    if kept.session.calls[place] != call:
        raise ConflictError(
            f"idempotency key: {key!r} was used for another call", param="idempotency-key", hint="use a new one"
        )
    return kept.session.results[place]


@contextmanager
def _locked(path: Path, root: Path) -> Iterator[BinaryIO]:
    """The file, made when it is not there, locked against all other processes and threads."""
    try:
        if not path.parent.is_dir():
            _make_folders(path.parent, root)
        file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
    except OSError as error:
        raise _unwritable(root, error) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _make_folders(folder: Path, root: Path) -> None:
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if root.stat().st_uid not in (os.geteuid(), 0):  # anybody can make a folder of that name in a temporary folder
        raise PermissionError(errno.EPERM, "it belongs to another user")
    folder.mkdir(parents=True, exist_ok=True)


def _broken(path: Path) -> ConflictError:
    return ConflictError(f"session: {path} holds a line that is no call", param="session", hint="delete it, or begin another")


def _unwritable(folder: Path, error: OSError) -> UnavailableError:
    said = error.strerror or str(error)
    return UnavailableError(f"{folder}: sessions cannot be kept there: {said}", hint=f"set {SESSIONS} to another folder")
