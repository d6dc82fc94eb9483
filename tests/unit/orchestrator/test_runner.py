"""What becomes of calls that workers run."""

import asyncio

import pytest

from tests.unit.orchestrator.making import OK
from toolorchestra.core.calls import Status
from toolorchestra.core.errors import UnavailableError
from toolorchestra.core.loop.context import PendingCall
from toolorchestra.core.loop.facts import Intent
from toolorchestra.core.loop.state import CallPhase, CallState
from toolorchestra.core.tasks import call_channel, over_channel
from toolorchestra.core.testing import ScriptedExecutor, a_revision, a_tool, an_expert
from toolorchestra.kit.testing import MemorySignals
from toolorchestra.orchestrator.services.runner import DurableRunner
from toolorchestra.orchestrator.testing import MemoryCalls, MemoryQueue


def pending(*, left_ms=60_000, phase=CallPhase.RUNNING, **spec):
    revision = a_revision(a_tool("lookup", **spec), an_expert())
    function = next(found for found in revision.functions if found.name == "lookup")
    state = CallState(1, Intent(function="lookup", arguments={}), phase, attempt=1)
    return PendingCall("run/1/1", function, state, left_ms)


class Bench:
    def __init__(self, calls, *, queue=True, poll_ms=1_000):
        self.calls = calls
        self.queue = MemoryQueue() if queue else None
        self.signals = MemorySignals()
        self.runner = DurableRunner(
            run_id="run", executor=ScriptedExecutor(), calls=calls, queue=self.queue, signals=self.signals, poll_ms=poll_ms
        )


async def test_a_stored_outcome_is_never_asked_for_again():
    calls = MemoryCalls(sent=True)
    calls.finish(OK, attempt=2)
    bench = Bench(calls)
    for left_ms in (60_000, -1):
        found = await bench.runner.collect(pending(left_ms=left_ms, phase=CallPhase.INTERRUPTED))
        assert (found.outcome, found.attempt, found.stored) == (OK, 2, True)
    assert bench.queue.published == []


async def test_a_signal_ends_the_waiting_at_once():
    bench = Bench(MemoryCalls(), poll_ms=60_000)
    collecting = asyncio.create_task(bench.runner.collect(pending()))
    while bench.calls.reads == 0:
        await asyncio.sleep(0)
    bench.calls.finish(OK)
    await bench.signals.publish(call_channel("run"), "")
    async with asyncio.timeout(5):
        assert (await collecting).outcome == OK


async def test_a_lost_signal_only_costs_a_poll():
    bench = Bench(MemoryCalls(), poll_ms=20)
    collecting = asyncio.create_task(bench.runner.collect(pending()))
    while bench.calls.reads == 0:
        await asyncio.sleep(0)
    bench.calls.finish(OK)
    async with asyncio.timeout(5):
        assert (await collecting).outcome == OK


async def test_a_call_that_no_worker_took_is_free():
    found = await Bench(MemoryCalls(hold_nano_usd=500)).runner.collect(pending(left_ms=0))
    assert found.stored is False
    assert found.outcome.status is Status.TIMEOUT
    assert found.outcome.error_code == "no_worker"
    assert (found.outcome.sent, found.outcome.cost_nano_usd) == (False, 0)


@pytest.mark.parametrize(
    ("effects", "status"), [("destructive", Status.UNKNOWN), ("readOnly", Status.TIMEOUT), ("idempotent", Status.TIMEOUT)]
)
async def test_a_call_whose_worker_went_silent_costs_its_hold(effects, status):
    bench = Bench(MemoryCalls(sent=True, hold_nano_usd=500))
    found = await bench.runner.collect(pending(left_ms=0, sideEffects=effects))
    assert found.outcome.status is status
    assert (found.outcome.cost_nano_usd, found.outcome.estimated) == (500, True)
    assert found.outcome.error_code == "worker_lost"


async def test_an_outcome_that_comes_as_the_time_ends_wins():
    class JustInTime(MemoryCalls):
        async def give_up(self, call_id):
            self.finish(OK)
            return await super().give_up(call_id)

    found = await Bench(JustInTime(sent=True)).runner.collect(pending(left_ms=0))
    assert (found.outcome, found.stored) == (OK, True)


async def test_an_interrupted_call_is_announced_again_at_once():
    bench = Bench(MemoryCalls(), poll_ms=10)
    collecting = asyncio.create_task(bench.runner.collect(pending(phase=CallPhase.INTERRUPTED)))
    async with asyncio.timeout(5):
        while not bench.queue.published:
            await asyncio.sleep(0.005)
        bench.calls.finish(OK)
        await collecting
    assert bench.queue.published == [("run/1/1", "inline")]


async def test_a_broker_that_is_away_or_missing_stops_nothing():
    bench = Bench(MemoryCalls())
    bench.queue.error = UnavailableError("the broker is away")
    await bench.runner.dispatch([("run/1/1", "queued")])
    assert bench.queue.published == []
    await Bench(MemoryCalls(), queue=False).runner.dispatch([("run/1/1", "queued")])


async def test_a_database_that_is_away_is_told():
    class Away(MemoryCalls):
        async def read(self, call_id):
            raise UnavailableError("the database is away")

    with pytest.raises(UnavailableError):
        await Bench(Away()).runner.collect(pending())


@pytest.mark.parametrize(
    ("sent", "effects", "status", "cost"),
    [
        (False, "destructive", Status.ERROR, 0),
        (True, "destructive", Status.UNKNOWN, 500),
        (True, "readOnly", Status.ERROR, 500),
    ],
)
async def test_an_abandoned_call_is_not_waited_for_and_its_worker_is_told(sent, effects, status, cost):
    bench = Bench(MemoryCalls(sent=sent, hold_nano_usd=500))
    found = await bench.runner.abandon(pending(sideEffects=effects))
    assert (found.outcome.status, found.outcome.cost_nano_usd, found.outcome.error_code) == (status, cost, "cancelled")
    assert found.stored is False
    assert [signal.channel for signal in bench.signals.published] == [over_channel("run/1/1")]


async def test_an_abandoned_call_that_has_its_outcome_keeps_it():
    calls = MemoryCalls(sent=True)
    calls.finish(OK)
    bench = Bench(calls)
    found = await bench.runner.abandon(pending())
    assert (found.outcome, found.stored) == (OK, True)
    assert bench.signals.published == []
