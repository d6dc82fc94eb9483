"""Settings of the orchestrator, read once from the environment (``TOOLORCHESTRA_…``)."""

import os
import socket
from pathlib import Path
from secrets import token_hex
from typing import Final, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from toolorchestra.core.resources import BudgetPolicySpec
from toolorchestra.kit.settings import Settings

CLUSTER: Final = "cluster"
KUBERNETES: Final = "kubernetes"


def _owner() -> str:
    """A name that no other process has, nor an earlier one: in a container the host and the process id come again."""
    return f"{socket.gethostname()}-{os.getpid()}-{token_hex(4)}"


class OrchestratorSettings(Settings):
    """One frozen tree."""

    database_url: SecretStr = Field(description="PostgreSQL, as a libpq URL.")
    database_connections: int = Field(default=16, ge=2, description="Most connections of the pool.")
    broker_url: SecretStr | None = Field(default=None, description="Any kombu broker. Without it, queued tools are not called.")
    signal_url: SecretStr | None = Field(default=None, description="Valkey or Redis for signals. Without it, a slow poll.")
    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port to listen on; 0 picks a free one.")
    share_port: bool = Field(
        default=False, description="Listen beside other replicas of this user on the same port: the kernel spreads connections."
    )
    manifests: tuple[Path, ...] = Field(default=(), description="Folders with manifests.")
    status_file: Path | None = Field(default=None, description="Where observed states of file manifests are kept.")
    registry: Literal["files", "cluster"] = Field(
        default="files", description="Where resources and Secrets are: `files` (manifests) or `cluster` (the API server)."
    )
    watch_namespaces: tuple[str, ...] = Field(default=(), description="On a cluster, the tenants served. Empty: all.")
    kubeconfig: Path | None = Field(default=None, description="How to reach the API server. Default: as the pod.")
    secret_readers: tuple[str, ...] = Field(
        default=(), description="`namespace:serviceaccount` of all that read Secrets, for messages. Default: this pod's."
    )
    egress_allow: tuple[str, ...] = Field(default=(), description="host:port, host or CIDR opened for private addresses.")
    admin_token_file: Path | None = Field(default=None, description="0600 file with the token of /admin/v1.")
    authority: Literal["token-file", "kubernetes"] = Field(
        default="token-file",
        description="Who vouches for administrators: `token-file`, or `kubernetes` (TokenReview and SubjectAccessReview), "
        "with which ServiceAccount tokens are credentials beside API keys.",
    )
    token_audience: str = Field(
        default="toolorchestra", min_length=1, description="Audience that a ServiceAccount token must be made for."
    )
    key_pepper_file: Path = Field(description="0600 file with the pepper of API keys.")
    default_budget: BudgetPolicySpec = Field(
        default_factory=BudgetPolicySpec, description="Policy of tenants without their own."
    )
    owner: str = Field(default_factory=_owner, description="Name of this replica in leases.")
    lease_ms: int = Field(default=15_000, ge=1_000, description="A run without a sign of life for this long is taken over.")
    probe_interval_s: float = Field(default=30.0, gt=0, description="Time between probes of tools and models.")
    drain_ms: int = Field(default=20_000, ge=0, description="Time that runs get to reach a transition at shutdown.")
    keep_alive_s: float = Field(default=10.0, gt=0, description="Time between comment lines in an idle stream.")
    max_body_bytes: int = Field(default=4_194_304, ge=1_024, description="Longest request body.")

    @property
    def on_cluster(self) -> bool:
        """Whether resources are objects of an API server."""
        return self.registry == CLUSTER

    @property
    def by_kubernetes(self) -> bool:
        """Whether the API server vouches for identities."""
        return self.authority == KUBERNETES

    @field_validator("registry")
    @classmethod
    def _one_source(cls, registry: str, info: ValidationInfo) -> str:
        if registry == CLUSTER and (info.data.get("manifests") or info.data.get("status_file")):
            raise ValueError("on a cluster no files are read; remove TOOLORCHESTRA_MANIFESTS and TOOLORCHESTRA_STATUS_FILE")
        return registry

    @field_validator("authority")
    @classmethod
    def _one_authority(cls, authority: str, info: ValidationInfo) -> str:
        if authority == KUBERNETES and info.data.get("admin_token_file"):
            raise ValueError("with `kubernetes` no token file is accepted; remove TOOLORCHESTRA_ADMIN_TOKEN_FILE")
        return authority
