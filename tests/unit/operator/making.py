"""Resources as the API server keeps them, and frames around kinds."""

import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from toolorchestra.core.resources import Orchestrator, Tool, parse_resource
from toolorchestra.kit.kubernetes import KubernetesObject
from toolorchestra.kit.testing import MemoryKubernetes
from toolorchestra.operator.plan import Plan
from toolorchestra.operator.services.announcing import Announcer
from toolorchestra.operator.services.index import Index
from toolorchestra.operator.services.kinds import TYPES, Kind, Reference, Seen
from toolorchestra.operator.services.liveness import Watches
from toolorchestra.operator.services.metrics import Metrics
from toolorchestra.operator.services.noticing import Noticer
from toolorchestra.operator.services.queue import WorkQueue
from toolorchestra.operator.services.reconciling import Reconciler
from toolorchestra.operator.services.sweeping import Sweeper

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SPECS: dict[str, dict[str, Any]] = {
    "Tool": {"description": "d", "http": {"url": "https://example.org/x"}},
    "ExpertModel": {"description": "d", "model": "m", "endpoint": {"baseUrl": "https://example.org/v1"}},
    "Orchestrator": {"policy": {"baseline": "cascade"}},
    "BudgetPolicy": {"limits": {"day": "2.00"}},
}
_numbers = itertools.count(1)


def body(kind: str, name: str = "one", spec: dict[str, Any] | None = None, *, namespace: str = "team", **metadata: Any) -> Any:
    """An object; it has a uid and a version unless ``metadata`` says otherwise."""
    own = {"uid": f"uid-{namespace}-{name}", "generation": 1, "resourceVersion": str(next(_numbers))}
    return {
        "apiVersion": "toolorchestra.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, **own, **metadata},
        "spec": SPECS[kind] if spec is None else spec,
    }


def resource(kind: str, name: str = "one", spec: dict[str, Any] | None = None, *, namespace: str = "team") -> Any:
    return parse_resource(body(kind, name, spec, namespace=namespace), source="test")


def tool(**spec: Any) -> Tool:
    made: Tool = resource("Tool", spec={"description": "d", **(spec or {"http": {"url": "https://example.org/x"}})})
    return made


def orchestrator(**spec: Any) -> Orchestrator:
    made: Orchestrator = resource("Orchestrator", spec={"policy": {"baseline": "cascade"}, **spec})
    return made


def conditions(plan: Plan) -> dict[str, tuple[str, str]]:
    """Type → (status, reason)."""
    return {one.type: (one.state.value, one.reason) for one in plan.conditions}


@dataclass
class Frame:
    """The frame of the operator around one kind, over an API server in memory."""

    kind: Kind[Any, Any]
    api: MemoryKubernetes = field(
        default_factory=lambda: MemoryKubernetes(*TYPES.values(), field_manager="toolorchestra-operator")
    )
    namespaces: Sequence[str] = ()

    def __post_init__(self) -> None:
        self.index, self.queue = Index(), WorkQueue[Reference]()
        self.watches, self.metrics = Watches(), Metrics()
        self.noticer = Noticer(self.index, self.queue, self.watches)
        self.index.depends(self.kind.uses)
        kinds = {self.kind.of.kind: self.kind}
        announcer = Announcer(self.api, instance="test")
        self.reconciler = Reconciler(self.api, self.index, kinds, announcer=announcer, metrics=self.metrics, resync_ms=300_000)
        self.sweeper = Sweeper(
            self.api, self.index, kinds, noticer=self.noticer, queue=self.queue, watches=self.watches,
            namespaces=self.namespaces, grace_s=0,
        )  # fmt: skip

    def put(self, one: KubernetesObject) -> Reference:
        """A user writes an object, and the watch tells."""
        stored = self.api.put(self.kind.of, one)
        self.noticer.event(stored, deleted=False)
        return Reference(stored["kind"], stored["metadata"]["namespace"], stored["metadata"]["name"])

    async def reconcile(self, reference: Reference) -> int | None:
        """One reconcile; when it wants to look again, in ms."""
        again_ms, written = await self.reconciler.reconcile(reference)
        if written is not None:
            self.noticer.resource(written)
        return again_ms

    async def status(self, reference: Reference) -> dict[str, Any]:
        found = await self.api.get(self.kind.of, reference.name, namespace=reference.namespace)
        return dict((found or {}).get("status") or {})


def toy(
    decide: Callable[[Tool, Seen], Plan], *, gather: Callable[[Tool, Seen], Awaitable[Seen]] | None = None, **parts: Any
) -> Kind[Tool, Seen]:
    """A kind of Tools that decides as it is told."""
    seen_by: list[Tool] = []

    async def look(one: Tool, seen: Seen) -> Seen:
        seen_by.append(one)
        return await gather(one, seen) if gather else seen

    return Kind(
        of=TYPES["Tool"],
        model=Tool,
        conditions=("Accepted", "Reachable"),
        headline="Ready",
        gather=look,
        reconcile=decide,
        **parts,
    )
