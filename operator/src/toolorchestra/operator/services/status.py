"""The status of a resource as it is stored: conditions with the time of their last transition, and the kind's own fields."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from toolorchestra.operator.plan import Condition, Plan, State

VOLATILE: Final = frozenset({"probedAt", "latencyMs", "enforcedAt", "lastTransitionTime"})
MAX_MESSAGE: Final = 2_048


def status_of(plan: Plan, stored: Mapping[str, Any], *, generation: int, now: datetime) -> dict[str, Any]:
    """What is to be stored. A condition keeps the time of its last transition until its status changes."""
    before = {one["type"]: one for one in stored.get("conditions") or ()}
    conditions = [_condition(one, before.get(one.type), generation, now) for one in plan.conditions]
    fields = {key: value for key, value in plan.status.items() if value is not None}
    return {**fields, "observedGeneration": generation, "conditions": conditions}


def differs(stored: Any, wanted: Any) -> bool:
    """Whether a status is worth writing: times and measurements alone are not."""
    return bool(_lasting(stored) != _lasting(wanted))


def with_headline(stored: Mapping[str, Any], kinds: Sequence[str], headline: Condition) -> Plan:
    """All that is stored as it is, under another headline; conditions that were never set are unknown."""
    before = {one["type"]: one for one in stored.get("conditions") or ()}
    unknown = {"status": State.UNKNOWN, "reason": headline.reason, "message": ""}
    kept = ((kind, before.get(kind, unknown)) for kind in kinds)
    conditions = [Condition(kind, State(one["status"]), one["reason"], one.get("message", "")) for kind, one in kept]
    fields = {key: value for key, value in stored.items() if key not in ("conditions", "observedGeneration")}
    return Plan(conditions=[*conditions, headline], status=fields)


def timestamp(moment: datetime) -> str:
    """As Kubernetes writes times."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _condition(one: Condition, before: Mapping[str, Any] | None, generation: int, now: datetime) -> dict[str, Any]:
    same = before is not None and before["status"] == one.state.value
    return {
        "type": one.type,
        "status": one.state.value,
        "reason": one.reason,
        "message": one.message if len(one.message) <= MAX_MESSAGE else one.message[: MAX_MESSAGE - 1] + "…",
        "lastTransitionTime": before["lastTransitionTime"] if before is not None and same else timestamp(now),
        "observedGeneration": generation,
    }


def _lasting(value: Any) -> Any:
    match value:
        case Mapping():
            return {key: _lasting(item) for key, item in value.items() if key not in VOLATILE}
        case list() | tuple():
            items = [_lasting(item) for item in value]
            keyed = all(isinstance(item, dict) and "observedGeneration" in item for item in items)
            return sorted(items, key=lambda item: str(item["type"])) if keyed else items
        case _:
            return value
