"""The one path of all kinds: look at a resource, decide, carry it out, tell; and again when it is due."""

import random
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from toolorchestra.core.errors import (
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    ToolOrchestraError,
)
from toolorchestra.kit.kubernetes import KubernetesApi, KubernetesObject
from toolorchestra.operator.plan import Condition, Owned, Plan, State
from toolorchestra.operator.services.announcing import Announcer
from toolorchestra.operator.services.index import Entry, Index
from toolorchestra.operator.services.kinds import Kind, Reference, Seen
from toolorchestra.operator.services.metrics import Metrics
from toolorchestra.operator.services.status import differs, status_of, timestamp, with_headline

logger = structlog.get_logger(__name__)

BACK_OFF_MS: Final = 1_000
MOST_BACK_OFF_MS: Final = 300_000
JITTER: Final = 0.1


class Reconciler:
    """Reconciles one resource at a time; ``noticed`` is told of each object that it wrote."""

    def __init__(
        self,
        api: KubernetesApi,
        index: Index,
        kinds: Mapping[str, Kind[Any, Any]],
        *,
        announcer: Announcer,
        metrics: Metrics,
        resync_ms: int,
    ) -> None:
        self._api = api
        self._index = index
        self._kinds = kinds
        self._announcer = announcer
        self._metrics = metrics
        self._resync_ms = resync_ms
        self._reconciled: dict[Reference, tuple[str, int]] = {}
        self._written: dict[Reference, float] = {}
        self._failures: dict[Reference, int] = {}

    async def reconcile(self, reference: Reference) -> tuple[int | None, KubernetesObject | None]:
        """When to look again, in ms (None: never), and the object as written, if it was."""
        kind, began = self._kinds[reference.kind], time.monotonic()
        entry = self._index.get(reference)
        if entry is None:
            return await self._forget(kind, reference), None
        plan, error = await self._decide(kind, entry)
        if self._outdated(entry):
            self._metrics.reconciles.labels(reference.kind, "outdated").inc()
            return 0, None
        plan, refusal = await self._carry_out(kind, entry, plan)
        error = error or refusal
        written, unwritten = await self._store(kind, entry, plan)
        error = error or unwritten
        self._reconciled[reference] = (entry.uid, entry.generation)
        self._metrics.reconciles.labels(reference.kind, "failed" if error else "ok").inc()
        self._metrics.duration.labels(reference.kind).observe(time.monotonic() - began)
        return self._next(reference, plan, error), written

    async def _decide(self, kind: Kind[Any, Any], entry: Entry) -> tuple[Plan, ToolOrchestraError | None]:
        if entry.resource is None:
            return _unreadable(kind, entry.problem or ""), None
        try:
            observed = await kind.gather(entry.resource, self._seen(entry))
            return kind.reconcile(entry.resource, observed), None
        except ToolOrchestraError as error:
            return _failed(kind, entry, error), error
        except Exception as error:  # one resource's surprise must not stop the work on all others
            logger.exception("reconcile_failed", resource=":".join(entry.reference))
            surprise = ToolOrchestraError(f"{type(error).__name__}; see the operator's log")
            return _failed(kind, entry, surprise), surprise

    def _seen(self, entry: Entry) -> Seen:
        written = self._written.get(entry.reference)
        return Seen(
            uid=entry.uid,
            generation=entry.generation,
            status=entry.status,
            fresh=self._reconciled.get(entry.reference) != (entry.uid, entry.generation),
            written_ms_ago=None if written is None else round((time.monotonic() - written) * 1_000),
            now=datetime.now(UTC),
        )

    def _outdated(self, entry: Entry) -> bool:
        """Whether the spec was edited, or the object made anew, while the old one was looked at."""
        now = self._index.get(entry.reference)
        return now is None or (now.uid, now.generation) != (entry.uid, entry.generation)

    async def _carry_out(self, kind: Kind[Any, Any], entry: Entry, plan: Plan) -> tuple[Plan, ToolOrchestraError | None]:
        """Apply and delete owned objects; what the server refuses becomes the headline."""
        try:
            for owned in plan.apply:
                await self._api.apply(owned.of, _with_owner(owned, entry))
                self._metrics.writes.labels(entry.reference.kind, "apply").inc()
            for gone in plan.delete:
                metadata = gone.body["metadata"]
                await self._api.delete(gone.of, metadata["name"], namespace=metadata.get("namespace"))
                self._metrics.writes.labels(entry.reference.kind, "delete").inc()
        except ToolOrchestraError as error:
            conditions = [one for one in plan.conditions if one.type != kind.headline]
            return Plan(conditions=[*conditions, _headline(kind, error)], status=plan.status), error
        return plan, None

    async def _store(
        self, kind: Kind[Any, Any], entry: Entry, plan: Plan
    ) -> tuple[KubernetesObject | None, ToolOrchestraError | None]:
        """Write the status if it says something new, and tell of transitions."""
        now = datetime.now(UTC)
        current = self._index.get(entry.reference) or entry
        status = status_of(plan, current.status, generation=entry.generation, now=now)
        self._metrics.observe(entry.reference, tuple(plan.conditions))
        if not differs(current.status, status):
            return None, None
        metadata = {"name": entry.reference.name, "namespace": entry.reference.namespace, "uid": entry.uid}
        body = {"apiVersion": kind.of.api_version, "kind": kind.of.kind, "metadata": metadata, "status": status}
        try:
            written = await self._api.apply(kind.of, body, subresource="status")
        except (NotFoundError, ConflictError):  # it is gone, or another one has its name; the watch will tell
            return None, None
        except ToolOrchestraError as error:
            logger.warning("status_not_written", resource=":".join(entry.reference), reason=str(error))
            return None, error
        self._written[entry.reference] = time.monotonic()
        self._metrics.writes.labels(entry.reference.kind, "status").inc()
        news = [one for one in plan.conditions if one.type in (kind.headline, *kind.announces)]
        posted = await self._announcer.announce(current, news, timestamp(now))
        self._metrics.writes.labels(entry.reference.kind, "event").inc(posted)
        return written, None

    async def _forget(self, kind: Kind[Any, Any], reference: Reference) -> int | None:
        """Undo what an object that is gone left outside the cluster; when to try again if that fails."""
        self._reconciled.pop(reference, None)
        self._written.pop(reference, None)
        self._metrics.observe(reference, ())
        try:
            if kind.forget is not None:
                await kind.forget(reference.namespace, reference.name)
        except ToolOrchestraError as error:
            logger.warning("not_undone", resource=":".join(reference), reason=str(error))
            self._metrics.reconciles.labels(reference.kind, "failed").inc()
            return self._back_off(reference)
        self._failures.pop(reference, None)
        return None

    def _next(self, reference: Reference, plan: Plan, error: ToolOrchestraError | None) -> int:
        if error is not None:
            return self._back_off(reference)
        self._failures.pop(reference, None)
        return jittered(self._resync_ms if plan.again_ms is None else min(plan.again_ms, self._resync_ms))

    def _back_off(self, reference: Reference) -> int:
        failures = self._failures.get(reference, 0)
        self._failures[reference] = failures + 1
        return jittered(min(MOST_BACK_OFF_MS, BACK_OFF_MS * 2 ** min(failures, 16)), 0.5)


def jittered(ms: int, share: float = JITTER) -> int:
    """A time around ``ms``, so that many resources do not come due at once."""
    return round(ms * random.uniform(1 - share, 1 + share))


def _unreadable(kind: Kind[Any, Any], problem: str) -> Plan:
    """A spec that the schema lets through and the platform cannot use."""
    accepted = Condition("Accepted", State.FALSE, "InvalidSpec", problem)
    others = [Condition(one, State.UNKNOWN, "InvalidSpec") for one in kind.conditions if one != "Accepted"]
    return Plan(conditions=[accepted, *others, Condition(kind.headline, State.FALSE, "InvalidSpec", problem)])


def _failed(kind: Kind[Any, Any], entry: Entry, error: ToolOrchestraError) -> Plan:
    present = [one["type"] for one in entry.status.get("conditions") or () if one["type"] in kind.conditions]
    return with_headline(entry.status, present or kind.conditions, _headline(kind, error))


def _headline(kind: Kind[Any, Any], error: ToolOrchestraError) -> Condition:
    """The headline of a resource that could not be looked at, or whose objects the server refused."""
    match error:
        case ForbiddenError():
            return Condition(kind.headline, State.FALSE, "Forbidden", str(error))
        case InvalidRequestError():
            return Condition(kind.headline, State.FALSE, "Refused", str(error))
        case _:
            return Condition(kind.headline, State.UNKNOWN, "ReconcileFailed", str(error))


def _with_owner(owned: Owned, entry: Entry) -> KubernetesObject:
    owner = {
        "apiVersion": entry.body["apiVersion"],
        "kind": entry.reference.kind,
        "name": entry.reference.name,
        "uid": entry.uid,
        "controller": True,
    }
    return {**owned.body, "metadata": {**owned.body["metadata"], "ownerReferences": [owner]}}
