"""The registry: which resources exist now. One protocol; files on a laptop, a watch on a cluster."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from toolorchestra.core.resources import BudgetPolicy, ExpertModel, Orchestrator, Tool


@dataclass(frozen=True, slots=True)
class Problem:
    """A manifest that could not be taken: where, and what to do. The rest goes on."""

    source: str
    message: str


@dataclass(frozen=True, slots=True)
class DiscoveredOperation:
    """One operation found at an openapi or mcp backend. ``details`` is what a later call needs."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    schema_hash: str
    side_effects: str | None = None  # a hint from the server; the Tool's own declaration wins
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observation:
    """What was observed of a Tool or ExpertModel: conditions, discovered operations, where a model is served."""

    ready: bool
    reason: str
    message: str = ""
    operations: tuple[DiscoveredOperation, ...] = ()
    base_url: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


Key = tuple[str, str]  # (namespace, name)


@dataclass(frozen=True, slots=True)
class Catalog:
    """A consistent view of all resources, by (namespace, name). ``version`` changes with every change."""

    version: int = 0
    tools: Mapping[Key, Tool] = field(default_factory=dict)
    experts: Mapping[Key, ExpertModel] = field(default_factory=dict)
    orchestrators: Mapping[Key, Orchestrator] = field(default_factory=dict)
    budgets: Mapping[Key, BudgetPolicy] = field(default_factory=dict)
    observed: Mapping[tuple[str, str, str], Observation] = field(default_factory=dict)  # (kind, namespace, name)
    problems: tuple[Problem, ...] = ()


class Registry(Protocol):
    """Where the data plane reads resources."""

    def catalog(self) -> Catalog:
        """The newest consistent view; cheap, never waits."""
        ...
