"""The registry: which resources exist now. One protocol; files on a laptop, a watch on a cluster."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, TypeAlias

from toolorchestra.core.resources import BudgetPolicy, ExpertModel, Orchestrator, Resource, Tool

LATENCY: Final = "latencyMs"  # in an observation's details: how long the look took


@dataclass(frozen=True, slots=True)
class Problem:
    """A manifest that could not be taken: where, and what to do. The rest goes on."""

    source: str
    message: str
    namespace: str | None = None  # whose it is; None concerns everybody


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

    def alike(self, other: "Observation | None") -> bool:
        """Whether both say the same. How long a look took is no news: for each new catalog everything is pinned anew."""
        return other is not None and _without_times(self) == _without_times(other)


Key: TypeAlias = tuple[str, str]  # (namespace, name)
Identity: TypeAlias = tuple[str, str, str]  # (kind, namespace, name)


@dataclass(frozen=True, slots=True)
class Catalog:
    """A consistent view of all resources, by (namespace, name). ``version`` changes with every change."""

    version: int = 0
    tools: Mapping[Key, Tool] = field(default_factory=dict)
    experts: Mapping[Key, ExpertModel] = field(default_factory=dict)
    orchestrators: Mapping[Key, Orchestrator] = field(default_factory=dict)
    budgets: Mapping[Key, BudgetPolicy] = field(default_factory=dict)
    observed: Mapping[Identity, Observation] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    @classmethod
    def of(cls, resources: Iterable[Resource], observed: Mapping[Identity, Observation] | None = None) -> "Catalog":
        """A catalog of these resources; of two with one name the later one counts."""
        by_key = {(one.kind, one.metadata.namespace, one.metadata.name): one for one in resources}
        return cls(
            version=1,
            tools={key[1:]: one for key, one in by_key.items() if isinstance(one, Tool)},
            experts={key[1:]: one for key, one in by_key.items() if isinstance(one, ExpertModel)},
            orchestrators={key[1:]: one for key, one in by_key.items() if isinstance(one, Orchestrator)},
            observed=observed or {},
        )


class Registry(Protocol):
    """Where the data plane reads resources."""

    def catalog(self) -> Catalog:
        """The newest consistent view; cheap, never waits."""
        ...


class WatchedRegistry(Registry, Protocol):
    """A registry that follows its source and takes part in observing what it holds. Used from one event loop."""

    async def changed(self, since: int) -> Catalog:
        """Wait until the catalog's version is no longer ``since`` and return it."""
        ...

    def observe(self, seen: Mapping[Identity, Observation]) -> None:
        """Note what this process saw of resources, all at once; one that has meanwhile gone is passed over."""
        ...

    def due(self) -> Catalog:
        """The part of the catalog that this process has to look at, because nobody else does."""
        ...

    def first_hashes(self) -> Mapping[Identity, Mapping[str, str]]:
        """The schema hash of each discovered operation as it was last accepted: another one is drift."""
        ...

    def not_ready(self) -> str | None:
        """Why its catalog must not be served from yet; None once it is complete, and from then on."""
        ...


def hashes_in(observed: Mapping[Identity, Observation]) -> dict[Identity, Mapping[str, str]]:
    """The schema hash of each operation in some observations."""
    return {key: {o.name: o.schema_hash for o in seen.operations} for key, seen in observed.items() if seen.operations}


def _without_times(seen: Observation) -> Observation:
    return replace(seen, details={name: value for name, value in seen.details.items() if name != LATENCY})
