"""Runs that are driven here and elsewhere: following, letting go, draining; and looking at them."""

import asyncio

import pytest

from tests.unit.orchestrator.making import RUN, asked, bodies, calls, ended, finished, log, started
from toolorchestra.core.chat import DeltaKind
from toolorchestra.core.errors import ConflictError, InvalidRequestError, NotFoundError, UnavailableError
from toolorchestra.core.loop import facts as f
from toolorchestra.core.loop.journal import Stamped
from toolorchestra.core.tasks import run_channel
from toolorchestra.core.testing import ScriptedExecutor, ScriptedModels, a_revision, an_expert
from toolorchestra.kit.testing import MemorySignals
from toolorchestra.ledger.runs import RunState
from toolorchestra.ledger.transitions import RunContext
from toolorchestra.orchestrator.services import manager as module
from toolorchestra.orchestrator.services.hub import Delta, Hub
from toolorchestra.orchestrator.services.lookup import RunService
from toolorchestra.orchestrator.services.manager import RunManager
from toolorchestra.orchestrator.services.metrics import Metrics
from toolorchestra.orchestrator.services.observing import HubObserver
from toolorchestra.orchestrator.services.outbox import Outbox
from toolorchestra.orchestrator.services.principal import Principal
from toolorchestra.orchestrator.services.upkeep import Upkeep
from toolorchestra.orchestrator.testing import EPOCH, MemoryRuns

CALLER = Principal("default", "key")
TOOL = log(asked(), calls("calculator"), started(1), finished(), ended())
PARKED = log(asked(), calls("weather", client=True), f.Parked(turn=1))


class Idle(RunManager):
    """Drives runs that do nothing until they are told to end."""

    async def _drive(self, run, revision, facts, wishes):
        while wishes.cancelled.by is None:
            await asyncio.sleep(0.001)


class Bench:
    def __init__(self, signals=None):
        self.runs, self.hub, self.signals = MemoryRuns(), Hub(), signals or MemorySignals()
        self.outbox = Outbox(self.signals)
        self.manager = Idle(
            database=None,
            hub=self.hub,
            runs=self.runs,
            signals=self.signals,
            outbox=self.outbox,
            queue=None,
            executor=ScriptedExecutor(),
            models=ScriptedModels(),
            metrics=Metrics(),
            has_signals=True,
        )
        self.service = RunService(self.runs, self.manager, None, 0.01)
        self.upkeep = Upkeep(
            runs=self.runs,
            accounts=None,
            entry=None,
            manager=self.manager,
            waiting=None,
            signals=self.signals,
            lease_ms=50,
        )

    def launch(self, run_id=RUN):
        self.manager.launch(RunContext(run_id, "default", "key", "me"), a_revision(an_expert()), TOOL[:1])

    async def follow(self, after=0):
        async with asyncio.timeout(5):
            return [item async for item in self.manager.follow("default", RUN, after=after)]

    async def events(self, after=0):
        async with asyncio.timeout(5):
            return [event async for event in self.service.events(CALLER, RUN, after=after)]


@pytest.fixture
def bench():
    return Bench()


@pytest.mark.parametrize(("stored", "state"), [(TOOL, RunState.ENDED), (PARKED, RunState.WAITING)])
@pytest.mark.parametrize("after", [0, 2, 99])
async def test_following_a_run_that_rests_ends(bench, stored, state, after):
    bench.runs.put(RUN, stored, state)
    assert await bench.follow(after) == stored[after:]
    assert len(await bench.events(after)) == len(stored[after:])


async def test_following_a_run_whose_content_is_deleted_ends(bench):
    bench.runs.put(RUN, [], RunState.ENDED)
    assert await bench.follow() == []


async def test_a_run_that_is_driven_elsewhere_is_followed_by_signals_and_passing_text(bench):
    bench.runs.put(RUN, TOOL[:2])
    following = asyncio.create_task(bench.follow(after=1))
    await asyncio.sleep(0.01)
    await bench.signals.publish(run_channel(RUN), '{"delta": "content", "text": "Hm"}')
    await bench.signals.publish(run_channel(RUN), "not json")
    await asyncio.sleep(0.01)
    bench.runs.put(RUN, TOOL, RunState.ENDED)
    await bench.signals.publish(run_channel(RUN), '{"seq": 6}')
    assert await following == [TOOL[1], Delta(DeltaKind.CONTENT, "Hm"), *TOOL[2:]]


async def test_a_follower_here_goes_on_elsewhere_when_this_process_loses_the_run(bench):
    bench.launch()
    following = asyncio.create_task(bench.follow())
    await asyncio.sleep(0.01)
    bench.runs.put(RUN, TOOL, RunState.ENDED)
    await bench.manager.drain(0)
    assert await following == TOOL


async def test_a_database_that_is_away_ends_the_stream_with_an_error_to_come_back_from(bench):
    bench.runs.put(RUN, TOOL[:2])
    bench.runs.error = UnavailableError("the database is away")
    (event,) = await bench.events()
    assert event.startswith("event: error\n")
    assert bodies([event])[0]["error"]["code"] == "unavailable"


async def test_an_idle_stream_of_events_is_kept_alive(bench):
    bench.runs.put(RUN, TOOL[:1])
    events = bench.service.events(CALLER, RUN, after=1)
    assert await anext(events) == ": keep-alive\n\n"
    await events.aclose()


async def test_events_carry_their_numbers_and_kinds(bench):
    bench.runs.put(RUN, TOOL, RunState.ENDED)
    events = await bench.events(after=4)
    assert [e.splitlines()[:2] for e in events] == [["id: 5", "event: call_finished"], ["id: 6", "event: ended"]]


async def test_draining_hands_over_what_is_not_done(bench):
    bench.launch()
    await bench.manager.drain(0)
    assert bench.manager.active == 0
    assert bench.hub.get(RUN) is None
    assert bench.runs.given_back == [None], "all of this process"


async def test_draining_waits_for_what_nobody_else_can_go_on_with(bench):
    ended = []

    async def passed_on(wishes):
        await asyncio.sleep(0.02)
        ended.append(wishes.released.by)

    bench.manager.drive(RUN, TOOL[:1], passed_on)
    await bench.manager.drain(5)
    assert ended == ["the end of this process"]


async def test_a_process_that_stops_takes_nothing_over_and_lets_go_of_what_comes_late(bench):
    await bench.upkeep.keep()
    assert bench.runs.asked_to_take_over == 1
    await bench.manager.drain(0)
    await bench.upkeep.keep()
    assert bench.runs.asked_to_take_over == 1
    late = []

    async def driven(wishes):
        late.append(wishes.released.by)

    bench.manager.drive(RUN, TOOL[:1], driven)
    await bench.manager.drain(1)
    assert late == ["the end of this process"]


async def test_after_the_database_was_away_others_get_time_to_renew(bench):
    bench.runs.error = UnavailableError("the database is away")
    with pytest.raises(UnavailableError):
        await bench.upkeep.keep()
    bench.runs.error = None
    await bench.upkeep.keep()
    assert bench.runs.asked_to_take_over == 0
    await asyncio.sleep(0.06)
    await bench.upkeep.keep()
    assert bench.runs.asked_to_take_over == 1


async def test_a_run_that_fails_here_is_forgotten_here(bench):
    async def broken(wishes):
        raise UnavailableError("the database is away")

    bench.manager.drive(RUN, TOOL[:1], broken)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert bench.manager.driven == set()
    assert bench.hub.get(RUN) is None


async def test_a_follower_hears_that_text_counts_no_more(bench):
    bench.runs.put(RUN, TOOL[:2])
    following = asyncio.create_task(bench.events(after=2))
    await asyncio.sleep(0.01)
    observer = HubObserver(RUN, bench.hub.open("elsewhere"), bench.outbox)
    await observer.delta(DeltaKind.CONTENT, "Wro")
    await observer.stored([Stamped(3, EPOCH, asked(attempt=2))])
    sending = asyncio.create_task(bench.outbox.run_forever())
    await asyncio.sleep(0.01)
    bench.runs.put(RUN, TOOL, RunState.ENDED)
    await bench.signals.publish(run_channel(RUN), '{"seq": 6}')
    events = await following
    sending.cancel()
    frames = [e for e in events if not e.startswith("id: ") and not e.startswith(":")]
    assert [e.splitlines()[0] for e in frames] == ["event: delta", "event: superseded"]
    assert bodies(frames)[1] == {"turn": 1, "attempt": 2}


async def test_draining_waits_for_runs_that_come_to_a_rest(bench):
    bench.launch()
    bench.launch("run-b")
    draining = asyncio.create_task(bench.manager.drain(5))
    await asyncio.sleep(0)
    for run_id in (RUN, "run-b"):
        bench.manager.heard_cancel(run_id, "me")
    async with asyncio.timeout(2):
        await draining


async def test_the_last_client_that_leaves_cancels_the_run_unless_it_comes_back(bench, monkeypatch):
    monkeypatch.setattr(module, "RETURN_GRACE_S", 0.02)
    bench.launch()
    for _ in range(2):
        bench.manager.listen(RUN)
    bench.manager.let_go(RUN, "cancel")
    await asyncio.sleep(0.05)
    assert bench.manager.active == 1
    bench.manager.let_go(RUN, "cancel")
    bench.manager.listen(RUN)
    await asyncio.sleep(0.05)
    assert bench.manager.active == 1
    bench.manager.let_go(RUN, "cancel")
    await asyncio.sleep(0.05)
    assert bench.manager.active == 0
    bench.manager.let_go(RUN, "cancel")


async def test_a_run_that_shall_go_on_without_its_client_does(bench, monkeypatch):
    monkeypatch.setattr(module, "RETURN_GRACE_S", 0.01)
    bench.launch()
    bench.manager.listen(RUN)
    bench.manager.let_go(RUN, "continue")
    await asyncio.sleep(0.03)
    assert bench.manager.active == 1
    await bench.manager.drain(0)


async def test_cancelling_is_stored_and_heard_here(bench):
    bench.runs.put(RUN, TOOL[:1])
    bench.launch()
    answer = await bench.service.cancel(CALLER, RUN)
    assert answer["cancel_requested"] is True
    assert bench.runs.cancelled == [(RUN, "the user")]
    assert bench.signals.published == [], "it is driven here"
    await bench.manager.drain(2)


async def test_runs_that_are_given_back_are_taken_over_at_once(bench):
    other = Bench(bench.signals)
    hearing = asyncio.create_task(other.upkeep.hear())
    await asyncio.sleep(0)
    bench.launch()
    await bench.manager.drain(0)
    async with asyncio.timeout(1):
        while not other.runs.asked_to_take_over:
            await asyncio.sleep(0.001)
    hearing.cancel()


async def test_cancelling_is_heard_where_the_run_is_driven(bench):
    owner = Bench(bench.signals)
    owner.launch()
    hearing = asyncio.create_task(owner.upkeep.hear())
    await asyncio.sleep(0)
    bench.runs.put(RUN, TOOL[:1])
    await bench.service.cancel(CALLER, RUN)
    async with asyncio.timeout(1):
        while owner.manager.active:
            await asyncio.sleep(0.001)
    hearing.cancel()


async def test_a_gap_in_the_signals_makes_the_owner_look(bench):
    bench.launch()
    bench.runs.wishes[RUN] = "the user"
    hearing = asyncio.create_task(bench.upkeep.hear())
    await asyncio.sleep(0)
    bench.runs.error = UnavailableError("the database is away")
    bench.signals.lose()
    await asyncio.sleep(0.01)
    assert bench.manager.active == 1
    bench.runs.error = None
    bench.signals.lose()
    async with asyncio.timeout(1):
        while bench.manager.active:
            await asyncio.sleep(0.001)
    hearing.cancel()


async def test_pages_say_whether_there_is_more(bench):
    for number in range(3):
        bench.runs.put(f"run-{number}", TOOL, RunState.ENDED)
    first = await bench.service.listing(CALLER, limit=2, after=None)
    assert ([r["id"] for r in first["data"]], first["has_more"]) == (["run-2", "run-1"], True)
    second = await bench.service.listing(CALLER, limit=2, after="run-1")
    assert ([r["id"] for r in second["data"]], second["has_more"]) == (["run-0"], False)
    with pytest.raises(NotFoundError) as caught:
        await bench.service.listing(CALLER, limit=2, after="run-9")
    assert caught.value.param == "after"


async def test_a_run_whose_content_is_deleted_still_shows_its_cost(bench):
    bench.runs.put(RUN, [], RunState.ENDED)
    body = await bench.service.show(CALLER, RUN)
    assert (body["status"], body["cost_usd"], body["turns"]) == ("completed", "0.00", [])


async def test_unknown_runs_are_not_found_and_unfinished_ones_not_deleted(bench):
    with pytest.raises(NotFoundError):
        await bench.service.show(CALLER, RUN)
    bench.runs.put(RUN, TOOL[:1])
    with pytest.raises(ConflictError):
        await bench.service.delete(CALLER, RUN)


@pytest.mark.parametrize("body", [{}, None, {"score": 2}, {"label": "x" * 65}, {"stars": 5}])
async def test_feedback_that_says_nothing_is_refused(bench, body):
    with pytest.raises(InvalidRequestError):
        await bench.service.feedback(CALLER, RUN, body)
