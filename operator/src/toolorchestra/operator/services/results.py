"""How a Job ended, and what it told: read from its conditions, its pods, their termination messages and their logs. Pure.

A job tells of itself by a report, one JSON object: its termination message, and before its end lines of its log, of which the
newest counts. All parts may be left out::

    {"metrics": {name: value}, "location": text,
     "conditions": {type: {"status": "True" or "False", "reason": CamelCase word, "message": text}}}
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from toolorchestra.kit.kubernetes import KubernetesObject
from toolorchestra.operator.plan import Condition, State
from toolorchestra.operator.services.pods import condition, shortened, terminated, word

MAX_CONDITIONS: Final = 8
MAX_METRICS: Final = 64
MAX_VALUE: Final = 256
MAX_LOCATION: Final = 2_048
SUCCEEDED: Final = "Succeeded"
_DEADLINE: Final = "DeadlineExceeded"


@dataclass(frozen=True, slots=True)
class Report:
    """What a job tells of itself. ``conditions``, by type, are steps of its own that it took, or why it did not."""

    metrics: Mapping[str, str] = field(default_factory=dict)
    location: str | None = None
    conditions: Mapping[str, Condition] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """The end of a Job. ``reason`` and ``message`` say why it failed; ``at`` is when, as Kubernetes wrote it."""

    at: str
    reason: str
    message: str = ""
    exit_code: int | None = None
    report: Report = field(default_factory=Report)


def result_of(job: KubernetesObject, pods: Sequence[KubernetesObject], *, log: str = "") -> Result | None:
    """How it ended; None while it has not. ``log``: the end of the failed pod's log, if the pod left no other message."""
    complete, failed = condition(job, "Complete"), condition(job, "Failed")
    end = last_end(pods)
    found = report(str(end.get("message") or ""))
    if complete.get("status") == "True":
        at = str(job["status"].get("completionTime") or complete.get("lastTransitionTime"))
        return Result(at, SUCCEEDED, exit_code=end.get("exitCode"), report=found)
    if failed.get("status") != "True":
        return None
    reason, message = _cause(failed, end, found, log)
    return Result(str(failed.get("lastTransitionTime")), reason, message, exit_code=end.get("exitCode"), report=found)


def last_end(pods: Sequence[KubernetesObject]) -> Mapping[str, Any]:
    """How the container of the newest pod that ended did so; empty if none did."""
    ends = [end for pod in pods if (end := terminated(pod)) is not None]
    return max(ends, key=lambda end: str(end.get("finishedAt", "")), default={})


def report(message: str) -> Report:
    """What a termination message or a line of a log reports; nothing if it is no report."""
    try:
        found = json.loads(message)
    except ValueError:
        return Report()
    if not isinstance(found, dict):
        return Report()
    metrics, location, told = found.get("metrics"), found.get("location"), found.get("conditions")
    named = list(metrics.items())[:MAX_METRICS] if isinstance(metrics, dict) else []
    texts = {str(name)[:MAX_VALUE]: str(value)[:MAX_VALUE] for name, value in named}
    steps = list(told.items())[:MAX_CONDITIONS] if isinstance(told, dict) else []
    conditions = {kind: _told(kind, one) for kind, one in steps if isinstance(one, dict)}
    return Report(texts, str(location)[:MAX_LOCATION] if location else None, conditions)


def newest_report(log: str) -> Report:
    """What the last line of a log that is a report says; nothing without one."""
    found = (report(line) for line in reversed(log.splitlines()) if line.startswith("{"))
    return next((one for one in found if one != Report()), Report())


def is_report(message: str) -> bool:
    """Whether a termination message is a report, not the end of a log."""
    return report(message) != Report()


def _told(kind: str, written: Mapping[str, Any]) -> Condition:
    status = written.get("status")
    state = State(status) if status in ("True", "False") else State.UNKNOWN
    return Condition(kind, state, word(written.get("reason"), "Told"), shortened(str(written.get("message") or "")))


def _cause(failed: Mapping[str, Any], end: Mapping[str, Any], told: Report, log: str) -> tuple[str, str]:
    """The most telling reason, and the words: the deadline, the memory, the job's, the exit code with the log's end."""
    if failed.get("reason") == _DEADLINE:
        return _DEADLINE, "it ran longer than spec.timeout: raise it"
    if end.get("reason") == "OOMKilled":
        return "OOMKilled", "the container used more memory than its limit (raise spec.resources.limits.memory)"
    not_taken = next((step for step in told.conditions.values() if step.state is State.FALSE), None)
    if not_taken is not None:
        return not_taken.reason, not_taken.message
    code = end.get("exitCode")
    if not code:
        return word(failed.get("reason"), "Failed"), shortened(str(failed.get("message", "")))
    message = str(end.get("message") or "")
    tail = shortened(log if is_report(message) or not message else message)
    return "Failed", f"exit code {code}; the end of its log:\n{tail}" if tail else f"exit code {code}; its log is empty"
