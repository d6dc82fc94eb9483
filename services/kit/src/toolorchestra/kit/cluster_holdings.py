"""The objects that a cluster's watches have brought so far, and what they amount to. Plain state: no clock, no input or output.

An object that does not parse is a Problem, and its last good version is served on, as with files.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from toolorchestra.core.errors import InvalidManifestError
from toolorchestra.core.registry import Catalog, Identity, Key, Observation, Problem
from toolorchestra.core.resources import BudgetPolicy, ExpertModel, Orchestrator, Resource, Tool, parse_resource
from toolorchestra.kit.cluster_status import carried, hashes_of, observation_of, outlived, read_status
from toolorchestra.kit.kubernetes import KubernetesObject

_R = TypeVar("_R", bound=Resource)


@dataclass(frozen=True, slots=True)
class _Held:
    """One object. ``resource`` is its last good version; ``version`` that of the newest document, good or not."""

    version: str
    uid: str
    resource: Resource | None = None
    problem: Problem | None = None
    seen: Observation | None = None
    hashes: Mapping[str, str] = field(default_factory=dict)
    current: bool = False  # whether the operator has observed this very spec


_NOTHING: Final = _Held("", "")


class Holdings:
    """Every method that changes something says whether a catalog would show it."""

    def __init__(self) -> None:
        self._held: dict[Identity, _Held] = {}
        self._lonely: dict[Identity, float] = {}  # not observed by the operator; when to look at it ourselves

    def put(self, document: KubernetesObject, *, look_at: float) -> bool:
        """Take an object's newest version. ``look_at``: when to look at it if the operator has not until then."""
        key = identity_of(document)
        before = self._held.get(key, _NOTHING)
        metadata = document["metadata"]
        if before.version == metadata["resourceVersion"]:
            return False
        if before.uid != metadata["uid"]:
            self._lonely.pop(key, None)
            before = _NOTHING
        held = self._held[key] = _newer(before, key, document)
        self._await_operator(key, before, held, look_at)
        return _shown(held) != _shown(before)

    def remove(self, key: Identity) -> bool:
        """Forget an object."""
        self._lonely.pop(key, None)
        return self._held.pop(key, None) is not None

    def keep_only(self, kind: str, namespace: str | None, present: Collection[Identity]) -> bool:
        """Forget the objects of a kind that a complete list of it (in one namespace, or in all) does not have."""
        gone = [k for k in self._held if k[0] == kind and namespace in (None, k[1]) and k not in present]
        for key in gone:
            self.remove(key)
        return bool(gone)

    def observe(self, key: Identity, observation: Observation, *, look_at: float) -> bool:
        """Keep what was seen here, until the operator says something newer."""
        held = self._held.get(key)
        if held is None:
            return False
        if key in self._lonely:
            self._lonely[key] = look_at
        found = {one.name: one.schema_hash for one in observation.operations}
        self._held[key] = replace(held, seen=observation, hashes=found or held.hashes)
        return not observation.alike(held.seen)

    def catalog(self, version: int) -> Catalog:
        """A view that later changes leave as it is."""
        held = self._held.items()
        return Catalog(
            version=version,
            tools=_of(Tool, held),
            experts=_of(ExpertModel, held),
            orchestrators=_of(Orchestrator, held),
            budgets=_of(BudgetPolicy, held),
            observed={key: one.seen for key, one in held if one.seen is not None},
            problems=tuple(one.problem for _, one in held if one.problem is not None),
        )

    def due(self, now: float) -> Catalog:
        """What nobody has observed although it was time."""
        held = [(key, self._held[key]) for key, at in self._lonely.items() if at <= now]
        return Catalog(tools=_of(Tool, held), experts=_of(ExpertModel, held))

    def first_hashes(self) -> dict[Identity, Mapping[str, str]]:
        """The hashes of accepted operations."""
        return {key: one.hashes for key, one in self._held.items() if one.hashes}

    def _await_operator(self, key: Identity, before: _Held, held: _Held, look_at: float) -> None:
        if held.current or not _observable(held.resource):
            self._lonely.pop(key, None)
        elif key not in self._lonely or held.resource is not before.resource:
            self._lonely[key] = look_at


def identity_of(document: KubernetesObject) -> Identity:
    """Which object a document is."""
    metadata = document["metadata"]
    return document["kind"], metadata["namespace"], metadata["name"]


def _newer(before: _Held, key: Identity, document: KubernetesObject) -> _Held:
    metadata = document["metadata"]
    status = read_status(document)
    fresh = _Held(metadata["resourceVersion"], metadata["uid"], hashes=hashes_of(status) or before.hashes)
    resource = before.resource
    if resource is None or before.problem is not None or resource.metadata.generation != metadata.get("generation"):
        try:
            resource = parse_resource(
                {name: value for name, value in document.items() if name != "status"}, source=_source(key)
            )
        except InvalidManifestError as error:
            return replace(fresh, resource=before.resource, seen=before.seen, problem=_problem(key, error, before.resource))
    seen = observation_of(resource, status)
    if seen is not None:
        same = resource is before.resource and seen == before.seen
        return replace(fresh, resource=resource, seen=before.seen if same else seen, current=True)
    kept = before.seen if resource is before.resource else carried(resource, before.resource, before.seen)
    return replace(fresh, resource=resource, seen=kept or outlived(resource, status))


def _problem(key: Identity, error: InvalidManifestError, kept: Resource | None) -> Problem:
    note = "; its last good version is used" if kept is not None else ""
    source = _source(key)
    return Problem(source, f"{str(error).removeprefix(source).removeprefix(': ')}{note}", key[1])


def _source(key: Identity) -> str:
    kind, namespace, name = key
    return f"{kind} {namespace}/{name}"


def _observable(resource: Resource | None) -> bool:
    """Whether the data plane could look at it itself; where a model is served by KServe only the operator knows."""
    return isinstance(resource, Tool) or (isinstance(resource, ExpertModel) and resource.spec.endpoint is not None)


def _shown(held: _Held) -> tuple[object, ...]:
    return held.resource, held.problem, held.seen


def _of(kind: type[_R], held: Iterable[tuple[Identity, _Held]]) -> dict[Key, _R]:
    return {key[1:]: one.resource for key, one in held if isinstance(one.resource, kind)}
