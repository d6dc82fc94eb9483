"""The platform's own services as parts: orchestrators, one worker for calls, one worker for the sandbox."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from toolorchestra.cli.embedded.checks import file_is_there, http_answers
from toolorchestra.cli.embedded.parts import LOOPBACK, Part
from toolorchestra.cli.platform.folder import StateFolder
from toolorchestra.cli.platform.options import UpOptions

SHIPPED_MANIFESTS: Final = Path(__file__).parents[1] / "manifests"
STATUS_FILE: Final = "TOOLORCHESTRA_STATUS_FILE"
READY_PATH: Final = "/readyz"
GRACE_MS: Final = 25_000  # runs that are under way get to a transition first


@dataclass(frozen=True, slots=True)
class Backing:
    """Where the services find what they need; ``opened`` are local addresses that tools and models may use."""

    database_url: str
    broker_url: str
    signal_url: str
    opened: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Programs:
    """The commands of the services."""

    orchestrator: tuple[str, ...] = (sys.executable, "-m", "toolorchestra.orchestrator")
    worker: tuple[str, ...] = (sys.executable, "-m", "toolorchestra.worker")


def service_parts(options: UpOptions, backing: Backing, programs: Programs) -> list[Part]:
    """The services, ready to be started. The orchestrators answer at the platform's URL."""
    env = service_environment(options, backing)
    return [
        *(_orchestrator(number, options, env, programs) for number in range(options.replicas)),
        _worker("worker", "calls", options, env, programs),
        _worker("sandbox-worker", "sandbox", options, env, programs),
    ]


def _orchestrator(number: int, options: UpOptions, env: Mapping[str, str], programs: Programs) -> Part:
    """What is observed of manifests is kept by the first one: it is one file."""
    own = {name: value for name, value in env.items() if number == 0 or name != STATUS_FILE}
    shared = {"TOOLORCHESTRA_SHARE_PORT": "true"} if options.replicas > 1 else {}
    return Part(
        name=f"orchestrator-{number + 1}" if number else "orchestrator",
        argv=programs.orchestrator,
        env={**own, **shared},
        ready=partial(http_answers, LOOPBACK, options.port, path=READY_PATH),
        grace_ms=GRACE_MS,
        url=platform_url(options.port),
        port=options.port,
    )


def _worker(name: str, worker_class: str, options: UpOptions, env: Mapping[str, str], programs: Programs) -> Part:
    """A worker is ready when it says so by a file."""
    file = StateFolder(options.state.resolve()).ready_file(name)
    own = {"TOOLORCHESTRA_WORKER_CLASS": worker_class, "TOOLORCHESTRA_READY_FILE": str(file)}
    return Part(name=name, argv=programs.worker, env={**env, **own}, ready=partial(file_is_there, file), grace_ms=GRACE_MS)


def service_environment(options: UpOptions, backing: Backing) -> Mapping[str, str]:
    """What the services read. Lists are JSON, files are absolute paths."""
    folder = StateFolder(options.state.resolve())
    manifests = [SHIPPED_MANIFESTS, folder.manifests, *(path.resolve() for path in options.own_manifests)]
    environment = {
        "DATABASE_URL": backing.database_url,
        "BROKER_URL": backing.broker_url,
        "SIGNAL_URL": backing.signal_url,
        "MANIFESTS": json.dumps([str(path) for path in manifests]),
        "STATUS_FILE": str(folder.status_file),
        "HOST": LOOPBACK,
        "PORT": str(options.port),
        "EGRESS_ALLOW": json.dumps([*backing.opened, *options.allow_egress]),
        "ADMIN_TOKEN_FILE": str(folder.admin_token_file),
        "KEY_PEPPER_FILE": str(folder.key_pepper_file),
        **_telemetry(options, folder),
    }
    return {f"TOOLORCHESTRA_{name}": value for name, value in environment.items()}


def platform_url(port: int) -> str:
    """Where clients find the platform; the OpenAI interface is below ``/v1``."""
    return f"http://{LOOPBACK}:{port}"


def _telemetry(options: UpOptions, folder: StateFolder) -> Mapping[str, str]:
    if options.otlp_endpoint:
        return {"TELEMETRY__OTLP_ENDPOINT": options.otlp_endpoint}
    return {"TELEMETRY__TRACES_FOLDER": str(folder.traces)}
