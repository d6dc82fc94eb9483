"""kill -9, and services that go away: no call is lost, none that could do harm is repeated, no outcome is thrown away."""

import asyncio
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.integration.worker.conftest import StartWorker, configured
from tests.integration.worker.harness import CALCULATOR, PYTHON, Desk, Peer, eventually, function_of
from tests.support.services import POSTGRES_SETTINGS, running
from toolorchestra.cli.embedded.postgres import postgres_part, postgres_url
from toolorchestra.cli.embedded.valkey import valkey_part
from toolorchestra.core.calls import Status
from toolorchestra.ledger.calls import CallState, StoredCall


@pytest.fixture
def own_folder() -> Iterator[Path]:
    """A folder for servers of this test's own, which may run as another user."""
    folder = Path(tempfile.mkdtemp(prefix="to-worker-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


async def test_a_read_only_call_of_a_killed_worker_is_repeated_after_its_lease(
    desk: Desk, start_worker: StartWorker, peer: Peer
):
    first = start_worker(lease_ms=1_500)
    call_id = await desk.call(function_of("peer", **peer.spec(sideEffects="readOnly")), {}, hold_nano_usd=1_000)
    await peer.hit()
    first.kill()
    second = start_worker()
    await desk.publish(call_id)
    if (await desk.read(call_id)).attempt == 1:
        await asyncio.sleep(1.5)
        await desk.publish(call_id)
    peer.gate.set()

    row = await desk.done(call_id)

    assert row.outcome is not None
    assert (row.outcome.status, row.attempt) == (Status.OK, 2)
    lost, counted = await desk.attempts(call_id)
    assert (lost.status, counted.status) == (Status.UNKNOWN, Status.OK)
    assert (lost.cost_nano_usd, lost.estimated, counted.cost_nano_usd) == (1_000, True, 0)
    assert len(peer.hits) == 2
    assert [event["attempt"] for event in second.logged("call_finished")] == [2]


async def test_a_call_is_not_taken_from_a_dead_worker_before_its_lease_ends(desk: Desk, start_worker: StartWorker, peer: Peer):
    first = start_worker(lease_ms=60_000)
    call_id = await desk.call(function_of("peer", **peer.spec(sideEffects="readOnly")), {})
    await peer.hit()
    first.kill()
    second = start_worker(lease_ms=60_000)
    await desk.publish(call_id, call_id)
    await eventually(lambda: len(second.logged("call_not_claimed")) >= 2)

    assert len(peer.hits) == 1
    assert (await desk.read(call_id)).attempt == 1


async def test_a_destructive_call_of_a_killed_worker_is_never_repeated(desk: Desk, start_worker: StartWorker, peer: Peer):
    first = start_worker(lease_ms=500)
    call_id = await desk.call(function_of("peer", **peer.spec(sideEffects="destructive")), {})
    await peer.hit()
    first.kill()
    second = start_worker(lease_ms=500)
    peer.gate.set()
    await asyncio.sleep(0.6)
    await desk.publish(call_id, call_id, call_id)
    await eventually(lambda: len(second.logged("call_not_claimed")) >= 3)

    given_up = await desk.give_up(call_id)

    assert (given_up.state, given_up.outcome, given_up.sent) == (CallState.OVER, None, True)
    assert len(peer.hits) == 1
    assert len(await desk.attempts(call_id)) == 1


async def test_a_killed_sandbox_child_is_replaced_and_its_call_repeated(desk: Desk, start_worker: StartWorker):
    worker = start_worker(worker_class="sandbox", concurrency=1, lease_ms=500)
    slow = {"code": "import time; time.sleep(3); print('slept')"}
    call_id = await desk.call(function_of("python", **PYTHON), slow)
    await desk.running(call_id)
    (child,) = (process for process in psutil.Process(worker.running.pid).children() if process.name() != "valkey-server")
    child.send_signal(signal.SIGKILL)

    async with asyncio.timeout(40):
        while (row := await desk.read(call_id)).outcome is None:  # its owner announces it until somebody may take it
            await asyncio.sleep(0.6)
            await desk.publish(call_id, execution="sandbox")

    assert (row.outcome.status, row.outcome.content, row.attempt) == (Status.OK, "slept", 2)


async def test_no_child_survives_its_killed_worker(desk: Desk, start_worker: StartWorker):
    worker = start_worker(worker_class="sandbox", concurrency=2)
    await desk.running(await desk.call(function_of("python", **PYTHON), {"code": "while True: pass"}))
    parent = psutil.Process(worker.running.pid)
    await eventually(lambda: len(parent.children(recursive=True)) > 2)  # two children, and the code in one of them
    children = parent.children(recursive=True)

    worker.kill()

    _, alive = await asyncio.to_thread(psutil.wait_procs, children, 5)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []


def test_an_outcome_waits_for_a_database_that_is_away(own_folder: Path, valkey_url: str, peer: Peer, tmp_path: Path):
    part = postgres_part(own_folder / "pg", settings=POSTGRES_SETTINGS)
    url = postgres_url(own_folder / "pg", database="postgres")
    worker = configured(tmp_path, peer, valkey_url, database_url=url)

    async def begin() -> str:
        async with Desk.open(url, valkey_url, migrated=False) as desk:
            worker.start()
            call_id = await desk.call(function_of("peer", **peer.spec(sideEffects="destructive")), {})
            await peer.hit()
            return call_id

    async def while_away() -> None:
        peer.gate.set()
        await eventually(lambda: [event for event in worker.logged("database_away") if event["doing"] == "finish"])

    async def end(call_id: str) -> StoredCall:
        async with Desk.open(url, valkey_url) as desk:
            return await desk.done(call_id, within_s=30)

    try:
        with running(part, log=own_folder / "first.log"):
            call_id = asyncio.run(begin())
        asyncio.run(while_away())
        with running(part, log=own_folder / "second.log"):
            row = asyncio.run(end(call_id))
            assert worker.terminate() == 0
    finally:
        worker.end()

    assert row.outcome is not None
    assert (row.outcome.status, row.attempt) == (Status.OK, 1)
    assert len(peer.hits) == 1
    assert [event["counted"] for event in worker.logged("call_finished")] == [True]


def test_a_worker_consumes_again_after_the_broker_was_restarted(
    own_folder: Path, database_url: str, peer: Peer, tmp_path: Path
):
    part = valkey_part(own_folder / "valkey")
    alive = tmp_path / "alive"
    worker = configured(tmp_path, peer, part.url, database_url=database_url, liveness_file=alive, heartbeat_s=0.5)
    sums = function_of("calculator", **CALCULATOR)

    async def before() -> str:
        async with Desk.open(database_url, part.url) as desk:
            await desk.done(await desk.call(sums, {"expression": "1 + 1"}))
            under_way = await desk.call(function_of("peer", **peer.spec(sideEffects="idempotent")), {})
            await peer.hit()
            return under_way

    async def after(under_way: str) -> StoredCall:
        async with Desk.open(database_url, part.url) as desk:
            await desk.done(await desk.call(sums, {"expression": "2 + 2"}), within_s=60)
            beaten = alive.stat().st_mtime_ns
            peer.gate.set()
            row = await desk.done(under_way)
            await eventually(lambda: alive.stat().st_mtime_ns > max(beaten, time.time_ns() - 10**9))
            return row

    try:
        with running(part, log=own_folder / "first.log"):
            worker.start()
            under_way = asyncio.run(before())
        with running(part, log=own_folder / "second.log"):
            row = asyncio.run(after(under_way))
            assert worker.terminate() == 0
    finally:
        worker.end()

    assert row.attempt == 1
    assert len(peer.hits) == 1
