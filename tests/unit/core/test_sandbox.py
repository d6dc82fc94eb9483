"""What the reports of sandbox workers mean for a tool."""

from datetime import UTC, datetime

import pytest

from toolorchestra.core.resources import ToolSpec
from toolorchestra.core.sandbox import RUNGS, SandboxFindings, SandboxReport, is_weaker, verdict

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def report(worker: str, rung: str | None, message: str = "") -> SandboxReport:
    return SandboxReport(worker, SandboxFindings(rung, message), NOW)


def spec(minimum: str | None = None) -> ToolSpec:
    body = {"description": "d", "plugin": {"name": "python"}, "execution": "sandbox", "minimumSandbox": minimum}
    return ToolSpec.model_validate(body)


def test_rungs_are_in_the_order_of_their_strength():
    assert [[is_weaker(one, other) for other in RUNGS] for one in RUNGS] == [[n > m for n in range(4)] for m in range(4)]
    assert not is_weaker(None, None)
    assert is_weaker(None, "process")
    assert is_weaker("castle", "process")


@pytest.mark.parametrize("minimum", [None, "process"])
def test_a_tool_gets_the_weakest_rung_of_all_workers(minimum: str | None):
    found = verdict(spec(minimum), [report("a", "gvisor"), report("b", "process"), report("c", "pod")])
    assert (found.rung, found.reason) == ("process", "")


def test_without_a_worker_nobody_takes_its_calls():
    found = verdict(spec(), [])
    assert (found.rung, found.reason) == (None, "NoSandboxWorker")
    assert "spec.execution" in found.message
    assert "sandbox.replicas" in found.message


def test_one_worker_below_the_minimum_is_too_weak_and_named_with_field_and_fix():
    found = verdict(spec("pod"), [report("a", "kata"), report("b", "process")])
    assert (found.rung, found.reason) == ("process", "SandboxTooWeak")
    for part in ("spec.minimumSandbox demands 'pod'", "worker b observed 'process'", "sandbox.runtimeClassName"):
        assert part in found.message


def test_a_worker_that_cannot_isolate_is_too_weak_for_any_tool_and_says_why():
    found = verdict(spec(), [report("a", "pod"), report("b", None, "code can reach: database")])
    assert (found.rung, found.reason) == ("none", "SandboxTooWeak")
    assert "worker b" in found.message
    assert "code can reach: database" in found.message
