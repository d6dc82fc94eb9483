"""Kubernetes Events: one when a condition that people wait for changes, and never otherwise."""

from collections.abc import Sequence
from typing import Final

import structlog

from toolorchestra.core.errors import ToolOrchestraError
from toolorchestra.kit.kubernetes import EVENTS, KubernetesApi, KubernetesObject
from toolorchestra.operator.plan import Condition, State
from toolorchestra.operator.services.index import Entry

logger = structlog.get_logger(__name__)

COMPONENT: Final = "toolorchestra-operator"
MAX_NOTE: Final = 1_000
_BAD_NEWS: Final = frozenset({"NearLimit"})  # conditions that are bad news when they are True


class Announcer:
    """Posts events. One that cannot be posted is only logged: the condition says the same."""

    def __init__(self, api: KubernetesApi, *, instance: str) -> None:
        self._api = api
        self._instance = instance

    async def announce(self, entry: Entry, conditions: Sequence[Condition], moment: str) -> int:
        """Tell what has changed against what is stored; how many events were posted."""
        changed = [one for one in conditions if is_news(entry.condition(one.type), one)]
        for condition in changed:
            try:
                namespace = entry.reference.namespace
                await self._api.create(EVENTS, self._event(entry, condition, moment), namespace=namespace)
            except ToolOrchestraError as error:
                logger.warning("event_not_posted", resource=":".join(entry.reference), reason=str(error))
        return len(changed)

    def _event(self, entry: Entry, condition: Condition, moment: str) -> KubernetesObject:
        good = condition.is_true is not (condition.type in _BAD_NEWS)
        message = condition.message or f"{condition.type} is {condition.state}"
        return {
            "metadata": {"generateName": f"{entry.reference.name}.", "namespace": entry.reference.namespace},
            "involvedObject": {
                "apiVersion": entry.body["apiVersion"],
                "kind": entry.reference.kind,
                "namespace": entry.reference.namespace,
                "name": entry.reference.name,
                "uid": entry.uid,
                "resourceVersion": entry.version,
            },
            "type": "Normal" if good else "Warning",
            "reason": condition.reason,
            "message": message[:MAX_NOTE],
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "count": 1,
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._instance,
        }


def is_news(before: Condition | None, now: Condition) -> bool:
    """Whether people should hear of it: another status, or another reason why not; not that nothing is known yet."""
    if before is None:
        return now.state is not State.UNKNOWN and (now.is_true or now.type not in _BAD_NEWS)
    return before.state is not now.state or (not now.is_true and before.reason != now.reason)
