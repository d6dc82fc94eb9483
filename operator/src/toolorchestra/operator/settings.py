"""Settings of the operator, read once from the environment (``TOOLORCHESTRA_…``)."""

import socket

from pydantic import Field, SecretStr

from toolorchestra.core.resources import BudgetPolicySpec
from toolorchestra.core.resources.meta import Namespace
from toolorchestra.kit.settings import Settings


class OperatorSettings(Settings):
    """One frozen tree. The API server is the pod's own, else that of ``$KUBECONFIG``."""

    watch_namespaces: tuple[Namespace, ...] = Field(default=(), description="Namespaces to serve. Default: all.")
    database_url: SecretStr = Field(description="PostgreSQL, as a libpq URL.")
    database_connections: int = Field(default=4, ge=1, description="Most connections of the pool.")
    default_budget: BudgetPolicySpec = Field(
        default_factory=BudgetPolicySpec, description="Policy of tenants without their own; the same as the orchestrator's."
    )
    egress_allow: tuple[str, ...] = Field(default=(), description="host:port, host or CIDR opened for private addresses.")
    secret_readers: tuple[str, ...] = Field(
        default=(), description="`namespace:serviceaccount` of all who read Secrets; stands in the command for tenants."
    )
    concurrency: int = Field(default=32, ge=1, le=256, description="Resources reconciled at once.")
    resync_interval_s: float = Field(default=300.0, gt=0, description="Time between looks at everything, give or take a tenth.")
    probe_interval_s: float = Field(default=300.0, gt=0, description="Time between probes of a tool or model that works.")
    watch_silence_s: float = Field(
        default=900.0, gt=0, description="A watch without a sign of life for so long makes the operator unhealthy."
    )
    host: str = Field(default="127.0.0.1", description="Address for /healthz, /readyz and /metrics.")
    port: int = Field(default=8081, ge=0, le=65535, description="Its port; 0 picks a free one.")
    instance: str = Field(default_factory=socket.gethostname, description="Name of this process in events.")
