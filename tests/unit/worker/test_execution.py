"""Claim, execute, finish, signal: what is done, stored and told in each case."""

import asyncio

import pytest

from tests.unit.worker.making import CALL, OK, Bench, Tool, claim, function, hang, stored
from toolorchestra.core.calls import CallRequest, Outcome, Status
from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.core.sessions import session_of
from toolorchestra.core.tasks import over_channel
from toolorchestra.ledger.calls import CallState
from toolorchestra.worker.services.execution import Handling
from toolorchestra.worker.settings import WorkerClass

TOLD = ("toolorchestra:calls:run1", CALL)


async def test_a_call_is_executed_stored_and_told():
    bench = Bench(claim())

    assert await bench.service.run(CALL) is Handling.DONE

    assert bench.calls.finished == [OK]
    assert bench.told == [TOLD]


async def test_the_executor_is_told_who_asks_what_and_how_long():
    bench = Bench(claim(left_ms=8_000, attempt=2, max_output_tokens=9))

    await bench.service.run(CALL)

    (asked,) = bench.tool.asked
    assert (asked.call_id, asked.idempotency_key, asked.run_id, asked.tenant) == (CALL, CALL, "run1", "acme")
    assert (asked.attempt, asked.arguments, asked.max_output_tokens) == (2, {"x": 1}, 9)
    assert asked.timeout_ms == 7_750  # its own timeout is to be stored before the deadline


@pytest.mark.parametrize("session", [None, "library:task-1:x"])
async def test_the_executor_is_told_the_session_of_the_run(session: str | None):
    bench = Bench(claim(session=session))

    await bench.service.run(CALL)

    (asked,) = bench.tool.asked
    assert (asked.session, session_of(asked.headers)) == (session, session)


@pytest.mark.parametrize(("left_ms", "timeout_ms"), [(1_000, 900), (100, 90), (0, 1)])
async def test_short_calls_keep_most_of_their_time(left_ms: int, timeout_ms: int):
    bench = Bench(claim(left_ms=left_ms))

    await bench.service.run(CALL)

    assert bench.tool.asked[0].timeout_ms == timeout_ms


async def test_a_stored_outcome_is_told_again_and_never_asked_for_again():
    bench = Bench(stored(OK))

    assert await bench.service.run(CALL) is Handling.NOT_OURS

    assert bench.tool.asked == []
    assert bench.told == [TOLD]


@pytest.mark.parametrize("state", [CallState.RUNNING, CallState.QUEUED, CallState.OVER])
async def test_a_call_of_somebody_else_is_left_alone(state: CallState):
    bench = Bench(stored(None, state))

    assert await bench.service.run(CALL) is Handling.NOT_OURS

    assert (bench.tool.asked, bench.calls.finished, bench.told) == ([], [], [])


async def test_an_unknown_call_is_dropped():
    bench = Bench()

    assert await bench.service.run("no/such/call") is Handling.NOT_OURS


async def test_a_message_is_given_back_when_the_database_stays_away():
    bench = Bench(claim())
    bench.calls.away = 10_000

    assert await bench.service.run(CALL) is Handling.GIVEN_BACK

    assert bench.tool.asked == []


async def test_a_database_that_is_away_for_a_moment_changes_nothing():
    async def answer(_: CallRequest) -> Outcome:
        bench.calls.away = 3
        return OK

    bench = Bench(claim(), tool=Tool(answer), lease_ms=5_000)
    bench.calls.away = 1

    assert await bench.service.run(CALL) is Handling.DONE

    assert (bench.calls.finished, bench.calls.away) == ([OK], 0)


async def test_an_outcome_that_cannot_be_stored_is_replaced_by_a_plain_error_of_the_same_price():
    bench = Bench(claim())
    bench.calls.refuses = InvalidRequestError("a value cannot be stored")

    assert await bench.service.run(CALL) is Handling.DONE

    assert (bench.outcome.status, bench.outcome.error_code) == (Status.ERROR, "invalid_request")
    assert bench.outcome.cost_nano_usd == OK.cost_nano_usd


async def test_a_crash_of_the_executor_is_an_error_whose_price_is_assumed():
    bench = Bench(claim(side_effects="destructive"), tool=Tool(ZeroDivisionError("a fault of ours")))

    assert await bench.service.run(CALL) is Handling.DONE

    assert (bench.outcome.status, bench.outcome.error_code) == (Status.ERROR, "internal_error")
    assert (bench.outcome.cost_nano_usd, bench.outcome.estimated) == (900, True)
    assert "may have had its effect" in bench.outcome.content
    assert "a fault of ours" not in bench.outcome.content


@pytest.mark.parametrize("lost", [{"revision": None}, {"revision": "other"}, {"function": "other"}])
async def test_a_call_whose_function_is_gone_is_an_error_that_costs_nothing(lost: dict[str, str | None]):
    bench = Bench(claim(**lost))

    assert await bench.service.run(CALL) is Handling.DONE

    assert (bench.outcome.status, bench.outcome.sent, bench.outcome.cost_nano_usd) == (Status.ERROR, False, 0)
    assert bench.told == [TOLD]


@pytest.mark.parametrize(
    ("execution", "minimum", "worker_class", "rung"),
    [
        ("sandbox", None, WorkerClass.CALLS, None),
        ("queued", None, WorkerClass.SANDBOX, "process"),
        ("sandbox", "process", WorkerClass.SANDBOX, None),
        ("sandbox", "pod", WorkerClass.SANDBOX, "process"),
        ("sandbox", "kata", WorkerClass.SANDBOX, "gvisor"),
    ],
)
async def test_a_call_that_this_worker_must_not_make_is_denied(
    execution: str, minimum: str | None, worker_class: WorkerClass, rung: str | None
):
    pinned = function(execution=execution, minimum_sandbox=minimum)
    bench = Bench(claim(), pinned=pinned, worker_class=worker_class, rung=rung)

    assert await bench.service.run(CALL) is Handling.DONE

    assert bench.tool.asked == []
    assert (bench.outcome.status, bench.outcome.sent, bench.outcome.cost_nano_usd) == (Status.DENIED, False, 0)


@pytest.mark.parametrize(("minimum", "rung"), [(None, None), ("process", "process"), ("process", "gvisor"), ("pod", "kata")])
async def test_a_sandbox_call_with_enough_isolation_is_made(minimum: str | None, rung: str | None):
    pinned = function(execution="sandbox", minimum_sandbox=minimum)
    bench = Bench(claim(), pinned=pinned, worker_class=WorkerClass.SANDBOX, rung=rung)

    await bench.service.run(CALL)

    assert bench.calls.finished == [OK]


async def test_the_lease_is_renewed_while_the_work_goes_on():
    async def slow(_: CallRequest) -> Outcome:
        await asyncio.sleep(0.3)
        return OK

    bench = Bench(claim(), tool=Tool(slow), lease_ms=150)

    await bench.service.run(CALL)

    assert len(bench.calls.extended) >= 3
    assert set(bench.calls.extended) == {150}


async def test_a_renewal_that_fails_does_not_end_the_call():
    async def slow(_: CallRequest) -> Outcome:
        bench.calls.away = 1
        await asyncio.sleep(0.2)
        return OK

    bench = Bench(claim(), tool=Tool(slow), lease_ms=150)

    await bench.service.run(CALL)

    assert bench.calls.finished == [OK]


async def test_a_call_that_is_no_longer_ours_is_cancelled_and_its_price_assumed():
    bench = Bench(claim(), tool=Tool(hang), lease_ms=60)
    bench.calls.ours = False

    assert await bench.service.run(CALL) is Handling.DONE

    assert bench.tool.cancelled
    assert (bench.outcome.status, bench.outcome.error_code) == (Status.UNKNOWN, "given_up")
    assert (bench.outcome.cost_nano_usd, bench.outcome.estimated) == (900, True)


async def test_a_signal_that_the_call_is_over_ends_it_at_once():
    bench = Bench(claim(), tool=Tool(hang), lease_ms=60_000)
    async with bench.service.listening(), asyncio.timeout(5):
        running = asyncio.create_task(bench.service.run(CALL))
        await bench.tool.began.wait()
        await bench.signals.publish(over_channel("another/1/1"))
        await bench.signals.publish(over_channel(CALL))
        await asyncio.sleep(0.01)
        assert not running.done(), "the database says that it is still ours"
        bench.calls.ours = False
        bench.signals.lose()
        assert await running is Handling.DONE
    assert bench.tool.cancelled
    assert bench.outcome.error_code == "given_up"


@pytest.mark.parametrize("side_effects", ["readOnly", "idempotent"])
async def test_stopping_gives_a_call_back_that_may_be_repeated(side_effects: str):
    bench = Bench(claim(side_effects=side_effects), tool=Tool(hang), lease_ms=60_000)
    running = asyncio.create_task(bench.service.run(CALL))
    await bench.tool.began.wait()

    bench.service.drain(10)

    assert await running is Handling.GIVEN_BACK
    assert bench.tool.cancelled
    assert (bench.calls.finished, bench.calls.extended, bench.told) == ([], [0], [])


async def test_stopping_ends_a_destructive_call_as_unknown():
    bench = Bench(claim(side_effects="destructive"), tool=Tool(hang), lease_ms=60_000)
    running = asyncio.create_task(bench.service.run(CALL))
    await bench.tool.began.wait()

    bench.service.drain(10)

    assert await running is Handling.DONE
    assert (bench.outcome.status, bench.outcome.error_code) == (Status.UNKNOWN, "worker_stopped")
    assert bench.calls.extended == []


async def test_stopping_lets_a_call_finish_that_is_quick_enough():
    async def soon(_: CallRequest) -> Outcome:
        await asyncio.sleep(0.05)
        return OK

    bench = Bench(claim(), tool=Tool(soon), lease_ms=60_000)
    running = asyncio.create_task(bench.service.run(CALL))
    await bench.tool.began.wait()

    bench.service.drain(5_000)

    assert await running is Handling.DONE
    assert bench.calls.finished == [OK]


async def test_nothing_is_taken_while_stopping():
    bench = Bench(claim())
    bench.service.drain(5_000)

    assert await bench.service.run(CALL) is Handling.GIVEN_BACK

    assert bench.tool.asked == []


async def test_a_backend_that_ignores_its_cancellation_does_not_hold_up_the_stop(monkeypatch):
    monkeypatch.setattr("toolorchestra.worker.services.execution.CANCEL_S", 0.05)

    async def stubborn(_: CallRequest) -> Outcome:
        while True:
            try:
                await asyncio.sleep(0.3)
            except asyncio.CancelledError:
                await asyncio.sleep(0.3)
                return OK

    bench = Bench(claim(), tool=Tool(stubborn), lease_ms=60_000)
    running = asyncio.create_task(bench.service.run(CALL))
    await bench.tool.began.wait()
    bench.service.drain(0)

    async with asyncio.timeout(0.25):
        assert await running is Handling.GIVEN_BACK
    await asyncio.sleep(0.5)
