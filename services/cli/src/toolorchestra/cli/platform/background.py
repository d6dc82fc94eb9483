"""A platform that outlives the command that started it, and how another command stops it."""

import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from toolorchestra.cli.embedded.state import PlatformState, running_platform
from toolorchestra.cli.platform.folder import API_URL_NAME, StateFolder
from toolorchestra.cli.platform.options import UpOptions
from toolorchestra.core.errors import ConflictError, ForbiddenError, UnavailableError

POLL_S: Final = 0.05
START_S: Final = 180
STOP_S: Final = 60
LOG_NAME: Final = "up.log"


def start_in_background(options: UpOptions) -> PlatformState:
    """Start a platform that runs on its own; returns once it answers. Raises UnavailableError with what it printed."""
    refuse_second(options.state)
    folder = StateFolder(options.state)
    folder.prepare()
    log = folder.logs / LOG_NAME
    pid = _spawn(options, log)
    deadline = time.monotonic() + START_S
    while (alive := _is_alive(pid)) and time.monotonic() < deadline:
        state = running_platform(options.state)
        if state is not None and API_URL_NAME in state.urls:
            return state
        time.sleep(POLL_S)
    if alive:
        os.kill(pid, signal.SIGTERM)
    raise UnavailableError(f"the platform did not start:\n{log.read_text(errors='replace').strip()}", hint=f"see {folder.logs}")


def stop_background(state_folder: Path) -> PlatformState | None:
    """Stop the platform of a folder, wherever it was started; None when there was none."""
    state = running_platform(state_folder)
    if state is None:
        return None
    try:
        os.kill(state.pid, signal.SIGTERM)
    except ProcessLookupError:
        return state
    except PermissionError as error:
        raise ForbiddenError(f"process {state.pid} belongs to another user", hint="let that user stop it") from error
    deadline = time.monotonic() + STOP_S
    while running_platform(state_folder) is not None:
        if time.monotonic() > deadline:
            raise UnavailableError(f"process {state.pid} does not stop", hint=f"end it with `kill -9 {state.pid}`")
        time.sleep(POLL_S)
    return state


def refuse_second(state_folder: Path) -> None:
    """One platform per folder. Raises ConflictError that says where the other one is."""
    other = running_platform(state_folder)
    if other is not None:
        where = other.urls.get(API_URL_NAME, "still starting")
        raise ConflictError(
            f"a platform already runs in {state_folder} ({where}, process {other.pid})",
            hint="use it, or stop it with `toolorchestra down`",
        )


def _spawn(options: UpOptions, log: Path) -> int:
    """The same command in the foreground of a session of its own; its process id. Both streams go to ``log``."""
    argv = [sys.executable, "-m", "toolorchestra.cli", "up", *arguments_of(options)]
    streams = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(argv[0], argv, {**os.environ, **_environment(options)}, file_actions=streams, setsid=True)


def _is_alive(pid: int) -> bool:
    """Whether our child still runs."""
    return os.waitpid(pid, os.WNOHANG) == (0, 0)


def arguments_of(options: UpOptions) -> Iterator[str]:
    """The options of `up` that stand for these, but for URLs."""
    yield f"--state={options.state}"
    yield f"--port={options.port}"
    yield f"--replicas={options.replicas}"
    for folder in options.manifests:
        yield f"--manifests={folder}"
    for entry in options.allow_egress:
        yield f"--allow-egress={entry}"
    if not options.local_model:
        yield "--no-local-model"


def _environment(options: UpOptions) -> Mapping[str, str]:
    """URLs may hold passwords, so they do not stand in the list of processes."""
    urls = {
        "TOOLORCHESTRA_DATABASE_URL": options.database_url,
        "TOOLORCHESTRA_BROKER_URL": options.broker_url,
        "TOOLORCHESTRA_SIGNAL_URL": options.signal_url,
        "TOOLORCHESTRA_TELEMETRY__OTLP_ENDPOINT": options.otlp_endpoint,
    }
    return {name: value for name, value in urls.items() if value}
