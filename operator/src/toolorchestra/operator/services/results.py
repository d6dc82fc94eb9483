"""How a Job ended, and what it left: read from its conditions, its pods and their termination messages. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from toolorchestra.kit.kubernetes import KubernetesObject
from toolorchestra.operator.services.pods import condition, shortened, terminated, word

MAX_METRICS: Final = 64
MAX_VALUE: Final = 256
MAX_LOCATION: Final = 2_048
SUCCEEDED: Final = "Succeeded"
_DEADLINE: Final = "DeadlineExceeded"


@dataclass(frozen=True, slots=True)
class Result:
    """The end of a Job. ``reason`` and ``message`` say why it failed; ``at`` is when, as Kubernetes wrote it."""

    succeeded: bool
    at: str
    reason: str
    message: str = ""
    exit_code: int | None = None
    metrics: Mapping[str, str] = field(default_factory=dict)
    location: str | None = None


def result_of(job: KubernetesObject, pods: Sequence[KubernetesObject], *, log: str = "") -> Result | None:
    """How it ended; None while it has not. ``log``: the end of the failed pod's log, if the pod left no other message."""
    complete, failed = condition(job, "Complete"), condition(job, "Failed")
    end = last_end(pods)
    metrics, location = report(str(end.get("message") or ""))
    if complete.get("status") == "True":
        at = str(job["status"].get("completionTime") or complete.get("lastTransitionTime"))
        return Result(True, at, SUCCEEDED, exit_code=end.get("exitCode"), metrics=metrics, location=location)
    if failed.get("status") != "True":
        return None
    reason, message = _cause(failed, end, log)
    return Result(
        False,
        str(failed.get("lastTransitionTime")),
        reason,
        message,
        exit_code=end.get("exitCode"),
        metrics=metrics,
        location=location,
    )


def last_end(pods: Sequence[KubernetesObject]) -> Mapping[str, Any]:
    """How the container of the newest pod that ended did so; empty if none did."""
    ends = [end for pod in pods if (end := terminated(pod)) is not None]
    return max(ends, key=lambda end: str(end.get("finishedAt", "")), default={})


def report(message: str) -> tuple[dict[str, str], str | None]:
    """Metrics and location, if the termination message is a report: a JSON object with one or both."""
    try:
        found = json.loads(message)
    except ValueError:
        return {}, None
    if not isinstance(found, dict):
        return {}, None
    metrics, location = found.get("metrics"), found.get("location")
    named = list(metrics.items())[:MAX_METRICS] if isinstance(metrics, dict) else []
    texts = {str(name)[:MAX_VALUE]: str(value)[:MAX_VALUE] for name, value in named}
    return texts, str(location)[:MAX_LOCATION] if location else None


def is_report(message: str) -> bool:
    """Whether a termination message is a report, not the end of a log."""
    return report(message) != ({}, None)


def _cause(failed: Mapping[str, Any], end: Mapping[str, Any], log: str) -> tuple[str, str]:
    """The most telling reason, and the words: the deadline, the memory, the exit code with the log's end, the Job's own."""
    if failed.get("reason") == _DEADLINE:
        return _DEADLINE, "it ran longer than spec.timeout: raise it"
    if end.get("reason") == "OOMKilled":
        return "OOMKilled", "the container used more memory than its limit (raise spec.resources.limits.memory)"
    code = end.get("exitCode")
    if not code:
        return word(failed.get("reason"), "Failed"), shortened(str(failed.get("message", "")))
    message = str(end.get("message") or "")
    tail = shortened(log if is_report(message) or not message else message)
    return "Failed", f"exit code {code}; the end of its log:\n{tail}" if tail else f"exit code {code}; its log is empty"
