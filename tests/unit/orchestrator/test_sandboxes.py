"""What people are shown of a sandboxed tool where no operator looks."""

from datetime import UTC, datetime

import pytest

from toolorchestra.core.errors import UnavailableError
from toolorchestra.core.registry import Observation
from toolorchestra.core.sandbox import SandboxFindings, SandboxReport
from toolorchestra.core.testing import a_catalog, a_tool
from toolorchestra.orchestrator.services.sandboxes import SandboxProber
from toolorchestra.orchestrator.testing import MemoryProber

KEY = ("Tool", "default", "python")
PROCESS = SandboxReport("box.1", SandboxFindings("process"), datetime(2026, 1, 2, tzinfo=UTC))


async def seen(reports, **spec):
    async def living():
        if isinstance(reports, Exception):
            raise reports
        return reports

    catalog = a_catalog(a_tool("python", plugin={"name": "python"}, execution="sandbox", **spec), a_tool("lookup"))
    found = await SandboxProber(MemoryProber(), living).probe_all(catalog)
    assert found["Tool", "default", "lookup"] == Observation(ready=True, reason="Ready"), "others are as they were"
    return found[KEY]


async def test_the_rung_is_shown():
    assert await seen([PROCESS]) == Observation(ready=True, reason="Ready", details={"sandbox": "process"})


@pytest.mark.parametrize(
    ("reports", "reason", "details"), [([], "NoSandboxWorker", {}), ([PROCESS], "SandboxTooWeak", {"sandbox": "process"})]
)
async def test_a_tool_that_gets_less_than_it_demands_is_not_ready(reports, reason, details):
    found = await seen(reports, minimumSandbox="pod")
    assert (found.ready, found.reason, found.details) == (False, reason, details)
    assert "spec." in found.message


async def test_while_nobody_can_be_asked_nothing_is_added():
    assert await seen(UnavailableError("the database is away")) == Observation(ready=True, reason="Ready")
