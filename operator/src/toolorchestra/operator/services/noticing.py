"""What changes of watched objects mean: who has to be looked at again, and who gave a sign of life."""

from typing import Any, Final

from toolorchestra.core.resources.meta import GROUP
from toolorchestra.kit.kubernetes import KubernetesObject
from toolorchestra.operator.services.index import Entry, Index, reference_of
from toolorchestra.operator.services.kinds import TYPES, Reference
from toolorchestra.operator.services.liveness import Watches
from toolorchestra.operator.services.queue import WorkQueue

_USER_METADATA: Final = ("labels", "annotations", "deletionTimestamp")


class Noticer:
    """Takes in what watches and lists tell, and puts on the queue whom it concerns."""

    def __init__(self, index: Index, queue: WorkQueue[Reference], watches: Watches) -> None:
        self._index = index
        self._queue = queue
        self._watches = watches
        self._parents: dict[Reference, Reference] = {}  # of Jobs, which stand between a Workload and its resource

    def event(self, body: KubernetesObject, *, deleted: bool) -> None:
        """What a watch told."""
        self._watches.beat(body["kind"])
        if body["kind"] in TYPES and body["apiVersion"].startswith(f"{GROUP}/"):
            self.resource_gone(reference_of(body), body["metadata"]["uid"]) if deleted else self.resource(body)
        else:
            self._other(body, deleted=deleted)

    def resource(self, body: KubernetesObject) -> bool:
        """A resource as it is now; whether that was news."""
        change = self._index.put(body)
        if change is None:
            return False
        old, new = change
        if old is None or _edited(old, new):
            self._queue.add(new.reference)
        if old is None or old.resource != new.resource or old.status.get("conditions") != new.status.get("conditions"):
            self._tell(self._index.users(new.reference))
        names = new.names if old is None else old.names ^ new.names
        self._tell({rival for name in names for rival in self._index.offering(name)} - {new.reference})
        return True

    def resource_gone(self, reference: Reference, uid: str | None = None) -> bool:
        """A resource was deleted; whether that was news."""
        entry = self._index.remove(reference, uid)
        if entry is None:
            return False
        self._queue.add(reference)
        self._tell(self._index.users(reference))
        self._tell({rival for name in entry.names for rival in self._index.offering(name)})
        return True

    def _other(self, body: KubernetesObject, *, deleted: bool) -> None:
        """An object that a resource owns, or refers to."""
        reference = reference_of(body)
        parent = _by_owner(body) or _by_label(body) or self._by_job(body)
        if body["kind"] == "Job" and parent is not None:
            self._parents[reference] = parent
        if deleted:
            self._parents.pop(reference, None)
        self._tell(self._index.users(reference) | ({parent} if parent else set()))

    def _tell(self, concerned: "frozenset[Reference] | set[Reference]") -> None:
        for reference in concerned:
            if self._index.get(reference) is not None:
                self._queue.add(reference)

    def _by_job(self, body: KubernetesObject) -> Reference | None:
        owner = _controller(body)
        if owner is None or owner["kind"] != "Job":
            return None
        return self._parents.get(Reference("Job", body["metadata"].get("namespace", ""), owner["name"]))


def _edited(old: Entry, new: Entry) -> bool:
    """Whether more than the status changed; touching an annotation asks for a look, too."""
    if (old.uid, old.generation) != (new.uid, new.generation):
        return True
    return any(old.body["metadata"].get(name) != new.body["metadata"].get(name) for name in _USER_METADATA)


def _controller(body: KubernetesObject) -> dict[str, Any] | None:
    owners = body["metadata"].get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), None)


def _by_owner(body: KubernetesObject) -> Reference | None:
    owner = _controller(body)
    if owner is None or not owner["apiVersion"].startswith(f"{GROUP}/"):
        return None
    return Reference(owner["kind"], body["metadata"].get("namespace", ""), owner["name"])


def _by_label(body: KubernetesObject) -> Reference | None:
    labels = body["metadata"].get("labels") or {}
    kind, name = labels.get(f"{GROUP}/kind"), labels.get(f"{GROUP}/name")
    return Reference(kind, body["metadata"].get("namespace", ""), name) if kind in TYPES and name else None
