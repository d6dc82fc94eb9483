"""What a Tool is told of the sandbox workers, and how seldom the ledger is asked for them."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.operator.making import NOW, conditions, tool
from toolorchestra.core.errors import ToolOrchestraError, UnavailableError
from toolorchestra.core.registry import Observation
from toolorchestra.core.sandbox import SandboxFindings, SandboxReport
from toolorchestra.operator.services.sandboxes import SandboxReports, SandboxSeen
from toolorchestra.operator.services.tools import ToolObserved, reconcile_tool

PYTHON: dict[str, Any] = {"plugin": {"name": "python"}, "execution": "sandbox"}
PROCESS = SandboxReport("box.1", SandboxFindings("process"), NOW)
UNUSABLE = SandboxReport("box.2", SandboxFindings(None, "code can reach: outside"), NOW)
AWAY = UnavailableError("the database is not available")
SEEN = ToolObserved(
    operations=(), collision=None, hidden=None, secrets=None, probe=Observation(ready=True, reason="Installed"),
    latency_ms=None, now=NOW, probe_interval_ms=60_000,
)  # fmt: skip


@pytest.mark.parametrize(
    ("minimum", "seen", "expected", "rung"),
    [
        (None, SandboxSeen([PROCESS]), ("True", "Observed"), "process"),
        ("process", SandboxSeen([PROCESS]), ("True", "Observed"), "process"),
        ("pod", SandboxSeen([PROCESS]), ("False", "SandboxTooWeak"), "process"),
        (None, SandboxSeen([PROCESS, UNUSABLE]), ("False", "SandboxTooWeak"), "none"),
        (None, SandboxSeen([], told="process"), ("False", "NoSandboxWorker"), None),
        (None, SandboxSeen([], AWAY, "process"), ("Unknown", "LedgerUnavailable"), "process"),
        (None, SandboxSeen([], AWAY), ("Unknown", "LedgerUnavailable"), None),
    ],
)
def test_a_sandboxed_tool_is_told(minimum: str | None, seen: SandboxSeen, expected: tuple[str, str], rung: str | None):
    plan = reconcile_tool(tool(**PYTHON, minimumSandbox=minimum), replace(SEEN, sandbox=seen))
    assert conditions(plan)["Sandboxed"] == expected
    assert conditions(plan)["Ready"] == (("True", "Ready") if expected[0] == "True" else expected)
    assert plan.status["sandbox"] == rung
    assert plan.status["functions"] == ["one"], "it informs and does not gate"


def test_a_tool_that_runs_elsewhere_is_told_nothing():
    plan = reconcile_tool(tool(plugin={"name": "calculator"}), SEEN)
    assert "Sandboxed" not in conditions(plan)
    assert plan.status["sandbox"] is None


class Ledger:
    """Counts how often it is asked."""

    def __init__(self, problem: ToolOrchestraError | None = None) -> None:
        self.asked = 0
        self._problem = problem

    async def living(self) -> Sequence[SandboxReport]:
        self.asked += 1
        await asyncio.sleep(0)
        if self._problem is not None:
            raise self._problem
        return [PROCESS]


@pytest.mark.parametrize("problem", [None, AWAY])
async def test_many_tools_ask_once(problem: ToolOrchestraError | None):
    ledger = Ledger(problem)
    reports = SandboxReports(ledger.living)

    found = await asyncio.gather(*(reports.look(tool(**PYTHON).spec, {"sandbox": "pod"}) for _ in range(20)))

    expected = SandboxSeen((), problem, "pod") if problem else SandboxSeen([PROCESS], None, "pod")
    assert found == [expected] * 20
    assert ledger.asked == 1


async def test_they_ask_again_after_a_while():
    ledger = Ledger()
    reports = SandboxReports(ledger.living, keep_s=0)
    for _ in range(2):
        await reports.look(tool(**PYTHON).spec, {})
    assert ledger.asked == 2


async def test_nobody_asks_for_a_tool_that_runs_elsewhere():
    ledger = Ledger()
    assert await SandboxReports(ledger.living).look(tool(plugin={"name": "calculator"}).spec, {}) is None
    assert ledger.asked == 0
