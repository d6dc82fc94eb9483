"""SIGTERM: nothing more is taken, what runs ends well if it can, and else another worker has it at once."""

import asyncio
import threading

import redis

from tests.integration.worker.conftest import StartWorker
from tests.integration.worker.harness import PYTHON, Desk, Peer, function_of
from toolorchestra.core.calls import Status
from toolorchestra.core.tasks import CALLS_QUEUE


def left_behind(valkey_url: str) -> tuple[int, int]:
    """Messages that wait in the queue, and messages that somebody took and did not acknowledge."""
    with redis.Redis.from_url(valkey_url) as client:
        return int(client.llen(CALLS_QUEUE)), int(client.hlen("unacked"))


async def test_a_running_call_gets_time_to_finish(desk: Desk, start_worker: StartWorker, peer: Peer, valkey_url: str):
    worker = start_worker(drain_ms=20_000)
    call_id = await desk.call(function_of("peer", **peer.spec(sideEffects="destructive")), {})
    await peer.hit()
    threading.Timer(0.7, peer.gate.set).start()

    assert await asyncio.to_thread(worker.terminate) == 0

    row = await desk.read(call_id)
    assert row.outcome is not None
    assert (row.outcome.status, row.attempt) == (Status.OK, 1)
    assert not worker.ready_file.exists()
    assert left_behind(valkey_url) == (0, 0)


async def test_a_call_that_takes_too_long_is_given_back_to_another_worker(
    desk: Desk, start_worker: StartWorker, peer: Peer, valkey_url: str
):
    first = start_worker(drain_ms=300, lease_ms=60_000)
    call_id = await desk.call(function_of("peer", **peer.spec(sideEffects="readOnly")), {})
    await peer.hit()
    assert await asyncio.to_thread(first.terminate) == 0
    assert (await desk.read(call_id)).outcome is None
    assert left_behind(valkey_url) == (1, 0)

    start_worker(lease_ms=60_000)  # nobody publishes again: the message is there
    await peer.hit(2)
    peer.gate.set()

    row = await desk.done(call_id)
    assert row.outcome is not None
    assert (row.outcome.status, row.attempt) == (Status.OK, 2)


async def test_a_destructive_call_that_takes_too_long_ends_as_unknown(desk: Desk, start_worker: StartWorker, peer: Peer):
    worker = start_worker(drain_ms=300)
    call_id = await desk.call(function_of("peer", **peer.spec(sideEffects="destructive")), {}, hold_nano_usd=500)
    await peer.hit()

    assert await asyncio.to_thread(worker.terminate) == 0

    row = await desk.read(call_id)
    assert row.outcome is not None
    assert (row.outcome.status, row.outcome.error_code, row.outcome.cost_nano_usd) == (
        Status.UNKNOWN, "worker_stopped", 500,
    )  # fmt: skip
    assert len(peer.hits) == 1


async def test_waiting_messages_stay_for_others(desk: Desk, start_worker: StartWorker, peer: Peer, valkey_url: str):
    first = start_worker(concurrency=1, drain_ms=200)
    function = function_of("peer", **peer.spec(sideEffects="readOnly"))
    call_ids = await desk.store(function, {}, count=5)
    await desk.publish(*call_ids)
    await peer.hit()
    assert await asyncio.to_thread(first.terminate) == 0
    assert left_behind(valkey_url) == (5, 0)
    peer.gate.set()

    start_worker()

    for call_id in call_ids:
        assert (await desk.done(call_id)).outcome is not None


async def test_a_sandbox_worker_gives_back_what_its_child_runs(desk: Desk, start_worker: StartWorker):
    first = start_worker(worker_class="sandbox", concurrency=1, drain_ms=300, lease_ms=60_000)
    call_id = await desk.call(function_of("python", **PYTHON), {"code": "import time; time.sleep(4); print('slept')"})
    await desk.running(call_id)
    await asyncio.sleep(0.3)
    assert await asyncio.to_thread(first.terminate) == 0
    assert (await desk.read(call_id)).outcome is None

    start_worker(worker_class="sandbox", concurrency=1, lease_ms=60_000)

    row = await desk.done(call_id)
    assert row.outcome is not None
    assert (row.outcome.content, row.attempt) == ("slept", 2)
