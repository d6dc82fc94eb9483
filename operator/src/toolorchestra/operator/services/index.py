"""All resources that the operator watches, in memory: as stored, parsed, by name, and by what they depend on."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from toolorchestra.core.errors import InvalidManifestError
from toolorchestra.core.registry import Catalog, Key
from toolorchestra.core.resources import BudgetPolicy, ExpertModel, Orchestrator, Resource, Tool, parse_resource
from toolorchestra.kit.kubernetes import KubernetesObject
from toolorchestra.operator.plan import Condition, State
from toolorchestra.operator.services.kinds import Reference

_R = TypeVar("_R", bound=Resource)
Uses = Callable[[Resource], Sequence[Reference]]


@dataclass(frozen=True, slots=True)
class Entry:
    """One object. ``resource`` is its spec, parsed; None with the ``problem`` of one that cannot be."""

    reference: Reference
    body: KubernetesObject
    resource: Resource | None
    problem: str | None
    names: frozenset[str]  # of the functions that it offers

    @property
    def uid(self) -> str:
        return str(self.body["metadata"]["uid"])

    @property
    def generation(self) -> int:
        return int(self.body["metadata"].get("generation", 1))

    @property
    def version(self) -> str:
        return str(self.body["metadata"]["resourceVersion"])

    @property
    def status(self) -> Mapping[str, Any]:
        return self.body.get("status") or {}

    def condition(self, kind: str) -> Condition | None:
        """A condition as stored."""
        found = next((one for one in self.status.get("conditions") or () if one["type"] == kind), None)
        return Condition(kind, State(found["status"]), found["reason"], found.get("message", "")) if found else None


class Index:
    """The newest version of every resource. ``uses`` names what a resource depends on."""

    def __init__(self, uses: Uses = lambda _: ()) -> None:
        self._uses = uses
        self._entries: dict[Reference, Entry] = {}
        self._users: dict[Reference, set[Reference]] = defaultdict(set)
        self._offering: dict[str, set[Reference]] = defaultdict(set)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def depends(self, uses: Uses) -> None:
        """Learn what resources depend on, once the kinds are known."""
        self._uses = uses

    def get(self, reference: Reference) -> Entry | None:
        return self._entries.get(reference)

    def put(self, body: KubernetesObject) -> tuple[Entry | None, Entry] | None:
        """Take a newer version of an object: what was held before, and now; None for one that is not newer."""
        reference = reference_of(body)
        old = self._entries.get(reference)
        if old is not None and old.uid == body["metadata"]["uid"] and not _newer(body, old):
            return None
        metadata = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
        entry = _entry(reference, {**body, "metadata": metadata}, old)
        if old is not None:
            self._unlink(old)
        self._entries[reference] = entry
        for used in self._uses(entry.resource) if entry.resource else ():
            self._users[used].add(reference)
        for name in entry.names:
            self._offering[name].add(reference)
        return old, entry

    def remove(self, reference: Reference, uid: str | None = None) -> Entry | None:
        """Drop an object that is gone; one that was made again since, under another uid, stays."""
        entry = self._entries.get(reference)
        if entry is None or uid not in (None, entry.uid):
            return None
        self._unlink(entry)
        return self._entries.pop(reference)

    def users(self, used: Reference) -> frozenset[Reference]:
        """The resources that depend on an object."""
        return frozenset(self._users.get(used, ()))

    def offering(self, function: str) -> frozenset[Reference]:
        """The resources that offer a function of this name, in any namespace."""
        return frozenset(self._offering.get(function, ()))

    def functions(self) -> Iterator[tuple[str, Reference]]:
        """The names of all functions, and who offers them."""
        return ((name, reference) for name, offering in self._offering.items() for reference in offering)

    def condition(self, kind: str, namespace: str, name: str, condition: str) -> Condition | None:
        """A condition of a resource, as stored."""
        entry = self._entries.get(Reference(kind, namespace, name))
        return entry.condition(condition) if entry else None

    def catalog(self) -> Catalog:
        """All resources that can be parsed, without what was observed of them."""
        return Catalog(
            tools=self._of(Tool), experts=self._of(ExpertModel), orchestrators=self._of(Orchestrator),
            budgets=self._of(BudgetPolicy),
        )  # fmt: skip

    def _of(self, model: type[_R]) -> dict[Key, _R]:
        return {
            (one.reference.namespace, one.reference.name): one.resource
            for one in self._entries.values()
            if isinstance(one.resource, model)
        }

    def _unlink(self, entry: Entry) -> None:
        for used in self._uses(entry.resource) if entry.resource else ():
            self._users[used].discard(entry.reference)
        for name in entry.names:
            self._offering[name].discard(entry.reference)


def reference_of(body: KubernetesObject) -> Reference:
    """Where an object is."""
    return Reference(body["kind"], body["metadata"].get("namespace", ""), body["metadata"]["name"])


def function_names(resource: Resource | None, status: Mapping[str, Any]) -> frozenset[str]:
    """The names of the functions that a resource offers; those of discovered operations stand in its status."""
    match resource:
        case Tool() if resource.spec.openapi is not None or resource.spec.mcp is not None:
            return frozenset(f"{resource.metadata.name}__{one['name']}" for one in status.get("operations") or ())
        case Tool():
            return frozenset({resource.metadata.name})
        case ExpertModel() if len(resource.spec.offers) == 1:
            return frozenset({resource.metadata.name})
        case ExpertModel():
            return frozenset(f"{resource.metadata.name}__{offer.name}" for offer in resource.spec.offers)
        case _:
            return frozenset()


def _entry(reference: Reference, body: KubernetesObject, old: Entry | None) -> Entry:
    """Parse the object, or keep what was parsed if only its status changed."""
    status = body.get("status") or {}
    if old is not None and (old.uid, old.generation) == (body["metadata"]["uid"], body["metadata"].get("generation", 1)):
        return replace(old, body=body, names=function_names(old.resource, status))
    try:
        desired = {key: value for key, value in body.items() if key != "status"}
        resource = parse_resource(desired, source=f"{reference.namespace}/{reference.name}")
    except InvalidManifestError as error:
        return Entry(reference, body, None, str(error), frozenset())
    return Entry(reference, body, resource, None, function_names(resource, status))


def _newer(body: KubernetesObject, old: Entry) -> bool:
    """Versions are numbers that grow, as far as they are numbers at all."""
    new = str(body["metadata"]["resourceVersion"])
    if new.isdecimal() and old.version.isdecimal():
        return int(new) > int(old.version)
    return new != old.version
