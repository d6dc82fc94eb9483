"""Settings of a worker, read once from the environment (``TOOLORCHESTRA_…``)."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from toolorchestra.core.tasks import queue_of
from toolorchestra.kit.settings import Settings

DEFAULT_THREADS: Final = 64  # a thread only waits for its call, so many are cheap
MOST_CHILDREN: Final = 8


class WorkerClass(StrEnum):
    """What a worker executes: ``calls`` side by side in one process, ``sandbox`` each in a process of its own."""

    CALLS = "calls"
    SANDBOX = "sandbox"

    @property
    def queue(self) -> str:
        """The queue that a worker of this class consumes."""
        return queue_of("sandbox" if self is WorkerClass.SANDBOX else "queued")


class WorkerSettings(Settings):
    """One frozen tree."""

    database_url: SecretStr = Field(description="PostgreSQL, as a libpq URL.")
    database_connections: int = Field(default=8, ge=2, description="Most connections of the pool of a `calls` worker.")
    broker_url: SecretStr = Field(description="Any kombu broker.")
    signal_url: SecretStr | None = Field(default=None, description="Valkey or Redis for signals. Without it, a slow poll.")
    worker_class: WorkerClass = Field(default=WorkerClass.CALLS, description="`calls`, or `sandbox` for tools that run code.")
    manifests: tuple[Path, ...] = Field(default=(), description="Folders with manifests; only Secrets are read from them.")
    registry: Literal["files", "cluster"] = Field(
        default="files", description="Where Secrets are: `files` (manifests, environment) or `cluster` (the API server)."
    )
    watch_namespaces: tuple[str, ...] = Field(default=(), description="Read by the orchestrator only.")
    kubeconfig: Path | None = Field(default=None, description="How to reach the API server. Default: as the pod.")
    secret_readers: tuple[str, ...] = Field(
        default=(), description="`namespace:serviceaccount` of all that read Secrets, for messages. Default: this pod's."
    )
    egress_allow: tuple[str, ...] = Field(default=(), description="host:port, host or CIDR opened for private addresses.")
    concurrency: int | None = Field(
        default=None, ge=1, le=1_024, description="Calls at once. Default: 64, or one per core (2 to 8) for `sandbox`."
    )
    lease_ms: int = Field(
        default=15_000, ge=500, description="A call whose worker gives no sign of life for so long may be taken by another."
    )
    drain_ms: int = Field(default=20_000, ge=0, description="Time that running calls get to finish when the worker is stopped.")
    call_limit_s: int = Field(
        default=900, ge=10, description="Longest time of any call; after it a broker delivers an unanswered message again."
    )
    ready_file: Path | None = Field(default=None, description="A file that is there while the worker takes calls.")
    liveness_file: Path | None = Field(
        default=None, description="A file touched whenever work was done; too old (a minute) means that the worker hangs."
    )
    heartbeat_s: float = Field(
        default=10.0, gt=0, description="Time between signs of life: tasks of an idle worker, and reports of a sandbox."
    )

    @property
    def calls_at_once(self) -> int:
        if self.concurrency is not None:
            return self.concurrency
        if self.worker_class is WorkerClass.CALLS:
            return DEFAULT_THREADS
        return min(MOST_CHILDREN, max(2, os.cpu_count() or 2))

    @property
    def on_cluster(self) -> bool:
        """Whether Secrets are objects of an API server."""
        return self.registry == "cluster"

    @field_validator("registry")
    @classmethod
    def _one_source(cls, registry: str, info: ValidationInfo) -> str:
        if registry == "cluster" and info.data.get("manifests"):
            raise ValueError("on a cluster no files are read; remove TOOLORCHESTRA_MANIFESTS")
        return registry
