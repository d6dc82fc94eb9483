"""What a reconcile decides, as plain data: conditions and status fields of the resource, objects, when to look again.

Each kind has one pure function ``reconcile(resource, observed) -> Plan``. What it needs to know of the world is gathered
before, into a frozen ``…Observed`` of its own; what it decided is carried out after, by the same few lines for all kinds.
So a decision can be read, tested and repeated without a cluster.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from toolorchestra.kit.kubernetes import KubernetesObject, ResourceType


class State(StrEnum):
    """The status of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition: ``reason`` is a CamelCase word that stays the same, ``message`` names the field and the fix."""

    type: str
    state: State
    reason: str
    message: str = ""

    @property
    def is_true(self) -> bool:
        return self.state is State.TRUE


@dataclass(frozen=True, slots=True)
class Owned:
    """An object that the resource owns: it gets an owner reference and is applied server-side, or is deleted."""

    of: ResourceType
    body: KubernetesObject


@dataclass(frozen=True, slots=True)
class Plan:
    """What a reconcile decided. ``conditions`` are all that the kind has; ``status`` are its further status fields.

    ``again_ms``: look again after this time even without a change; None leaves it to the next resync.
    """

    conditions: Sequence[Condition]
    status: Mapping[str, Any] = field(default_factory=dict)
    apply: Sequence[Owned] = ()
    delete: Sequence[Owned] = ()
    again_ms: int | None = None


def roll_up(kind: str, *conditions: Condition) -> Condition:
    """The condition ``kind`` (e.g. ``Ready``) over others: the first that is False, else the first unknown one, else True.

    What works, but not as its user may think, is told too: those that are True and have a message, by the first one's reason.
    """
    for state in (State.FALSE, State.UNKNOWN):
        for condition in conditions:
            if condition.state is state:
                return Condition(kind, state, condition.reason, condition.message)
    noted = [condition for condition in conditions if condition.message]
    return Condition(kind, State.TRUE, noted[0].reason if noted else kind, "; ".join(one.message for one in noted))
