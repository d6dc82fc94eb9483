"""Sandbox workers: code in a child of its own per call, behind an isolation that was observed."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from structlog.testing import capture_logs

from tests.integration.worker.conftest import Site
from tests.integration.worker.harness import PYTHON, Desk, WorkerProcess, eventually, function_of
from toolorchestra.core.calls import Status
from toolorchestra.core.sandbox import SandboxFindings
from toolorchestra.ledger import sandboxes
from toolorchestra.worker.reporting import SandboxReporter

CANARY = "canary-in-the-environment"


@pytest.fixture(scope="module")
def worker(site: Site) -> Iterator[WorkerProcess]:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("OPENAI_API_KEY", CANARY)
        with site.worker(worker_class="sandbox", concurrency=2, liveness_file=site.folder / "alive", heartbeat_s=0.5) as worker:
            yield worker


@pytest.fixture
async def desk(site: Site, worker: WorkerProcess) -> AsyncIterator[Desk]:
    async with Desk.open(site.database_url, site.valkey_url) as opened:
        yield opened


def child_pids(worker: WorkerProcess) -> set[str]:
    """Processes that wrote spans of calls: each has a file of its own."""
    return {path.name.split("-")[4] for path in worker.traces.glob("*.jsonl")}


async def test_each_call_has_a_child_of_its_own(desk: Desk, worker: WorkerProcess):
    before = child_pids(worker)
    function = function_of("python", **PYTHON)
    call_ids = await desk.store(function, {"code": "print(6 * 7)"}, count=6)
    await desk.publish(*call_ids, execution="sandbox")

    outcomes = [(await desk.done(call_id)).outcome for call_id in call_ids]

    assert [outcome.content for outcome in outcomes if outcome] == ["42"] * 6
    await eventually(lambda: len(child_pids(worker) - before) >= 6)
    assert len(child_pids(worker) - before) == 6
    assert str(worker.running.pid) not in child_pids(worker)


async def test_the_observed_rung_is_logged_and_told_with_each_outcome(desk: Desk, worker: WorkerProcess):
    row = await desk.done(await desk.call(function_of("python", **PYTHON), {"code": "1 + 1"}))

    (observed,) = worker.logged("sandbox_observed")
    assert observed["rung"] == "process"
    assert observed["reach"] == {"metadata": "closed", "outside": "closed"}
    assert row.outcome is not None
    assert row.outcome.details["sandboxRung"] == "process"


async def test_the_report_is_there_from_the_start_and_told_again(desk: Desk, worker: WorkerProcess):
    (first,) = await sandboxes.living(desk.database)
    (observed,) = worker.logged("sandbox_observed")
    assert first.worker.endswith(f".{worker.running.pid}")
    assert (first.findings.rung, first.findings.reach) == (observed["rung"], observed["reach"])
    assert first.findings.layers == observed["layers"]

    async with asyncio.timeout(20):
        while (await sandboxes.living(desk.database))[0].seen_at == first.seen_at:
            await asyncio.sleep(0.1)


async def test_a_worker_that_ends_withdraws_its_report_and_that_of_a_killed_one_expires(desk: Desk, site: Site):
    async def others(count: int) -> None:
        async with asyncio.timeout(20):  # on a busy machine a report may expire before the next beat
            while len(await sandboxes.living(desk.database)) - 1 != count:
                await asyncio.sleep(0.05)

    # A report lives for three beats: that of the first would still be there when the wait is over.
    for name, end, beat_s in (("ending", WorkerProcess.terminate, 10.0), ("killed", WorkerProcess.kill, 0.5)):
        with site.worker(folder=name, worker_class="sandbox", concurrency=1, heartbeat_s=beat_s) as other:
            await others(1)
            await asyncio.to_thread(end, other)
            await others(0)


async def test_a_database_that_is_away_does_not_stop_the_worker():
    reporter = SandboxReporter("postgresql://nobody@127.0.0.1:9/none", "box.1", SandboxFindings("process"), interval_s=1)
    with capture_logs() as logs:
        await asyncio.to_thread(reporter.tell)
    assert [one["event"] for one in logs] == ["sandbox_not_reported"]


async def test_a_tool_that_demands_more_isolation_is_denied(desk: Desk):
    function = function_of("python", **PYTHON, minimumSandbox="gvisor")

    row = await desk.done(await desk.call(function, {"code": "1 + 1"}))

    assert row.outcome is not None
    assert (row.outcome.status, row.outcome.sent) == (Status.DENIED, False)
    assert "gvisor" in row.outcome.content


async def test_code_sees_nothing_of_the_workers_environment(desk: Desk, worker: WorkerProcess):
    code = "import os; print(dict(os.environ))"

    row = await desk.done(await desk.call(function_of("python", **PYTHON), {"code": code}))

    assert row.outcome is not None
    assert CANARY not in row.outcome.content
    assert "TOOLORCHESTRA" not in row.outcome.content
    assert CANARY not in worker.log


async def test_an_idle_sandbox_worker_shows_signs_of_life(desk: Desk, site: Site):
    file = site.folder / "alive"
    await eventually(file.exists)
    first = file.stat().st_mtime_ns

    await eventually(lambda: file.stat().st_mtime_ns > first)
