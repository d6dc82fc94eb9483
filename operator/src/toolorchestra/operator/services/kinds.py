"""What a kind of resource says of itself; the frame does the rest: watching, queueing, carrying out, telling."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, NamedTuple, TypeVar

from toolorchestra.core.crds import NAMES
from toolorchestra.core.resources import Resource
from toolorchestra.core.resources.meta import GROUP
from toolorchestra.kit.kubernetes import ResourceType
from toolorchestra.operator.plan import Plan

R = TypeVar("R", bound=Resource)
Observed = TypeVar("Observed")

TYPES: Final = {kind: ResourceType(GROUP, "v1alpha1", naming.plural, kind) for kind, naming in NAMES.items()}


class Reference(NamedTuple):
    """An object by kind, namespace and name: a resource, or something that one depends on."""

    kind: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of an object beside its spec.

    ``status`` is as stored on the server; ``fresh``: this process has not reconciled this spec yet; ``written_ms_ago``: since
    this process wrote the status, None before; ``now``: aware, UTC, the only clock of a reconcile.
    """

    uid: str
    generation: int
    status: Mapping[str, Any]
    fresh: bool
    written_ms_ago: int | None
    now: datetime


def _nothing(_: Any) -> Sequence[Reference]:
    return ()


@dataclass(frozen=True, slots=True)
class Kind(Generic[R, Observed]):
    """One kind: how it is observed (``gather``) and decided (``reconcile``, pure), and what makes it look again.

    ``conditions`` are all types but the ``headline``, whose transitions become Kubernetes Events, as those of ``announces``
    do. ``uses``: objects whose changes concern it. ``children``: kinds that it owns. ``forget(namespace, name)`` undoes what
    is outside the cluster once an object is gone, and may be called again; ``outside`` lists what is held there.
    """

    of: ResourceType
    model: type[R]
    conditions: tuple[str, ...]
    headline: str
    gather: Callable[[R, Seen], Awaitable[Observed]]
    reconcile: Callable[[R, Observed], Plan]
    uses: Callable[[R], Sequence[Reference]] = _nothing
    children: tuple[ResourceType, ...] = ()
    announces: tuple[str, ...] = ()
    forget: Callable[[str, str], Awaitable[None]] | None = None
    outside: Callable[[], Awaitable[Iterable[tuple[str, str]]]] | None = None
