"""Functions: what a policy may call, as pinned by a run's revision.

A *function* is one callable name with a schema and a price. It comes from a Tool (one function, or one per operation for
openapi and mcp) or from an ExpertModel (one per offer).
"""

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from toolorchestra.core.pricing import Price
from toolorchestra.core.resources.expert import ExpertModelSpec
from toolorchestra.core.resources.tool import ToolSpec

FUNCTION_NAME_PATTERN: Final = r"^[A-Za-z0-9_-]{1,64}$"
SideEffects: TypeAlias = Literal["readOnly", "idempotent", "destructive"]
Execution: TypeAlias = Literal["inline", "queued", "sandbox"]


class Frozen(BaseModel):
    """Base of stored and passed-on values: immutable, unknown fields refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ToolTarget(Frozen):
    """A tool's backend; ``operation`` is the operationId (openapi) or the remote tool's name (mcp)."""

    kind: Literal["tool"] = "tool"
    namespace: str
    name: str
    spec: ToolSpec
    operation: str | None = None
    details: dict[str, Any] = Field(default_factory=dict)  # what discovery found and a call needs, e.g. method and path


class ExpertTarget(Frozen):
    """A model and the way it is offered. ``base_url`` is where it is served."""

    kind: Literal["expert"] = "expert"
    namespace: str
    name: str
    spec: ExpertModelSpec
    base_url: str
    offer: str | None = None


Target: TypeAlias = Annotated[ToolTarget | ExpertTarget, Field(discriminator="kind")]


class Function(Frozen):
    """One callable name, complete: schema, price, limits and where it leads. Times in ms, prices in nano-USD."""

    name: str = Field(pattern=FUNCTION_NAME_PATTERN)
    description: str
    parameters: dict[str, Any]
    target: Target
    side_effects: SideEffects
    execution: Execution
    price: Price
    timeout_ms: int
    retries: int = 0
    typical_latency_ms: int | None = None
    capabilities: tuple[str, ...] = ()
    simulated: bool = False
    max_output_tokens: int = 0  # experts only
    context_tokens: int = 0  # experts only
    strength: int = 0  # experts only
    inside: bool = False  # nothing leaves the cluster (or the laptop)

    @property
    def is_expert(self) -> bool:
        return self.target.kind == "expert"
