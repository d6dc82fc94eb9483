"""Real workers over real services: a call id goes in, an outcome stands in the database, and nothing happens twice."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from celery import Celery

from tests.integration.worker.conftest import Site
from tests.integration.worker.harness import CALCULATOR, PYTHON, Desk, Peer, WorkerProcess, eventually, function_of
from toolorchestra.core.calls import Status
from toolorchestra.core.tasks import CALLS_QUEUE, RUN_CALL
from toolorchestra.ledger.calls import CallState


@pytest.fixture(scope="module")
def worker(site: Site) -> Iterator[WorkerProcess]:
    """One worker for all tests here, with a short lease."""
    with site.worker(concurrency=16, lease_ms=600) as worker:
        yield worker


@pytest.fixture
async def desk(site: Site, worker: WorkerProcess) -> AsyncIterator[Desk]:
    async with Desk.open(site.database_url, site.valkey_url) as opened:
        yield opened


@pytest.fixture
def peer(site: Site) -> Iterator[Peer]:
    with site.fresh_peer() as peer:
        yield peer


async def test_a_queued_call_is_executed_and_its_end_is_told(desk: Desk, worker: WorkerProcess):
    (call_id,) = await desk.store(function_of("calculator", **CALCULATOR), {"expression": "6 * 7"})

    assert await desk.told(call_id, lambda: desk.publish(call_id))

    row = await desk.read(call_id)
    assert row.outcome is not None
    assert (row.state, row.outcome.status, row.outcome.content) == (CallState.DONE, Status.OK, "42")
    assert [event["status"] for event in worker.logged("call_finished", call_id)] == ["ok"]


async def test_a_call_that_arrives_many_times_at_two_workers_is_executed_once(
    desk: Desk, worker: WorkerProcess, peer: Peer, site: Site
):
    with site.worker(concurrency=4, folder="second") as second:
        (call_id,) = await desk.store(function_of("peer", **peer.spec(sideEffects="idempotent")), {"n": 1})
        await desk.publish(*[call_id] * 8)
        await peer.hit()
        await desk.publish(*[call_id] * 8)
        await eventually(lambda: sum(len(one.logged("call_not_claimed", call_id)) for one in (worker, second)) >= 15)
        peer.gate.set()
        row = await desk.done(call_id)

    assert row.outcome is not None
    assert row.outcome.status is Status.OK
    assert [hit["idempotency-key"] for hit in peer.hits] == [call_id]
    assert len(await desk.attempts(call_id)) == 1


async def test_a_stored_outcome_is_told_again_and_not_asked_for_again(desk: Desk, worker: WorkerProcess, peer: Peer):
    peer.gate.set()
    call_id = await desk.call(function_of("peer", **peer.spec(sideEffects="readOnly")), {})
    first = await desk.done(call_id)

    assert await desk.told(call_id, lambda: desk.publish(call_id))

    assert (await desk.read(call_id)).outcome == first.outcome
    assert len(peer.hits) == 1


async def test_an_expired_call_is_not_executed(desk: Desk, worker: WorkerProcess, peer: Peer):
    peer.gate.set()
    function = function_of("peer", **peer.spec(sideEffects="readOnly"))
    (late,) = await desk.store(function, {}, timeout_ms=50)
    await asyncio.sleep(0.1)
    await desk.publish(late)
    await desk.done(await desk.call(function, {}))

    assert (await desk.read(late)).state is CallState.QUEUED
    assert await desk.attempts(late) == []
    assert len(peer.hits) == 1
    assert [event["state"] for event in worker.logged("call_not_claimed", late)] == ["queued"]


async def test_a_tool_that_hangs_is_a_timeout_before_the_deadline(desk: Desk, worker: WorkerProcess, peer: Peer):
    call_id = await desk.call(function_of("peer", **peer.spec(sideEffects="idempotent")), {}, timeout_ms=1_500)

    row = await desk.done(call_id)

    assert row.outcome is not None
    assert row.outcome.status is Status.TIMEOUT
    (attempt,) = await desk.attempts(call_id)
    assert attempt.finished_at is not None
    assert attempt.finished_at < row.deadline_at


async def test_a_call_outlives_its_first_lease(desk: Desk, worker: WorkerProcess, peer: Peer):
    call_id = await desk.call(function_of("peer", **peer.spec(sideEffects="readOnly")), {})
    await peer.hit()
    for _ in range(6):
        await asyncio.sleep(0.3)
        await desk.publish(call_id)
    peer.gate.set()

    assert (await desk.done(call_id)).attempt == 1
    assert len(peer.hits) == 1


async def test_many_calls_run_side_by_side_in_one_process(desk: Desk, worker: WorkerProcess, peer: Peer):
    function = function_of("peer", **peer.spec(sideEffects="readOnly"))
    call_ids = await desk.store(function, {}, count=16)
    await desk.publish(*call_ids)

    await peer.hit(16)
    peer.gate.set()

    for call_id in call_ids:
        assert (await desk.done(call_id)).outcome is not None


async def test_a_call_that_the_owner_gave_up_is_ended_in_the_worker(desk: Desk, worker: WorkerProcess, peer: Peer):
    call_id = await desk.call(function_of("peer", **peer.spec(sideEffects="readOnly")), {})
    await peer.hit()
    async with desk.database.system() as connection:
        await connection.execute("UPDATE calls SET state = 'over' WHERE id = %s", (call_id,))

    await eventually(lambda: worker.logged("call_finished", call_id))

    (attempt,) = await desk.attempts(call_id)
    assert attempt.status == Status.UNKNOWN
    assert (await desk.read(call_id)).state is CallState.OVER


async def test_code_never_runs_outside_the_sandbox_workers(desk: Desk, worker: WorkerProcess):
    (call_id,) = await desk.store(function_of("python", **PYTHON), {"code": "1 + 1"})
    await desk.publish(call_id, execution="queued")

    row = await desk.done(call_id)

    assert row.outcome is not None
    assert (row.outcome.status, row.outcome.sent) == (Status.DENIED, False)


async def test_a_message_of_nonsense_is_dropped_and_the_rest_goes_on(desk: Desk, worker: WorkerProcess):
    await desk.publish("no/such/call")
    call_id = await desk.call(function_of("calculator", **CALCULATOR), {"expression": "1 + 1"})

    assert (await desk.done(call_id)).outcome is not None
    assert len(worker.logged("call_unknown", "no/such/call")) == 1


async def test_what_is_no_call_is_dropped_and_the_rest_goes_on(desk: Desk, worker: WorkerProcess, site: Site):
    with Celery(broker=site.valkey_url, set_as_current=False) as app:
        for arguments in ((), (7,), ("a", "b")):
            app.send_task(RUN_CALL, arguments, queue=CALLS_QUEUE)
    call_id = await desk.call(function_of("calculator", **CALCULATOR), {"expression": "1 + 1"})

    assert (await desk.done(call_id)).outcome is not None
    await eventually(lambda: len(worker.logged("call_finished", call_id)) == 1)
