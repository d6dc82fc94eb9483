"""Which run a request with tool messages goes on with."""

import pytest

from tests.unit.orchestrator.making import RUN, asked, calls, ended, log, wish
from toolorchestra.core.errors import NotFoundError
from toolorchestra.core.loop import facts as f
from toolorchestra.core.loop.journal import FencedError
from toolorchestra.core.loop.memory import MemoryJournal
from toolorchestra.core.testing import a_revision, an_expert
from toolorchestra.ledger.transitions import RunContext
from toolorchestra.orchestrator.services.continuing import Continuer
from toolorchestra.orchestrator.services.entry import Entry
from toolorchestra.orchestrator.services.manager import RunManager
from toolorchestra.orchestrator.services.principal import Principal
from toolorchestra.orchestrator.testing import MemoryRuns

CALLER = Principal("default", "key")
PARKED = log(asked(), calls("weather", "clock", client=True), f.Parked(turn=1))
GONE_ON = [*PARKED, *log(f.Continued(turn=1, results={1: "sunny", 2: "noon"}))[1:]]


class OneJournal(Entry):
    """Stores in memory what goes on."""

    def __init__(self, runs):
        self.memory = MemoryJournal()
        self.memory.log = runs.logs

    async def resume(self, run_id, opened):
        revision = a_revision(an_expert())
        return RunContext(run_id, opened.tenant, opened.key, "me"), revision

    def journal(self, context):
        return self.memory


class Launches(RunManager):
    """Notes which runs are to be driven."""

    def __init__(self):
        self.launched = []

    def launch(self, context, revision, facts):
        self.launched.append((context.run_id, len(facts)))


class Bench:
    def __init__(self, stored, run_id=RUN):
        self.runs = MemoryRuns()
        self.runs.put(run_id, stored)
        self.manager = Launches()
        self.entry = OneJournal(self.runs)
        self.continuer = Continuer(self.runs, self.entry, self.manager)

    async def __call__(self, results, *, caller=CALLER, retry=False):
        return await self.continuer.continue_run(caller, answers(results), retry=retry)


def answers(results):
    """A request that ends with tool messages: pairs of call id and content."""
    user = {"role": "user", "content": "Weather?"}
    tools = [{"role": "tool", "tool_call_id": call_id, "content": content} for call_id, content in results]
    return wish(messages=[user, *tools])


def call(ordinal, turn=1, run=RUN):
    return f"call_{run}_{turn}_{ordinal}"


BOTH = [(call(1), "sunny"), (call(2), "noon")]


async def test_a_run_goes_on_with_the_answers_to_all_its_calls():
    bench = Bench(PARKED)
    found = await bench(BOTH)
    assert found.run_id == RUN
    assert bench.manager.launched == [(RUN, 5)]
    assert bench.runs.logs[RUN][-1].fact.results == {1: "sunny", 2: "noon"}
    assert found.state.parked_at is None
    assert found.state.reserve.hold == "final-1"


async def test_answers_may_come_in_any_order_and_the_newest_counts():
    bench = Bench(PARKED)
    await bench([(call(2), "noon"), (call(1), "rainy"), (call(1), "sunny")])
    assert bench.runs.logs[RUN][-1].fact.results == {1: "sunny", 2: "noon"}


@pytest.mark.parametrize(
    "results",
    [
        [],
        [(call(1), "sunny")],
        [*BOTH, (call(3), "more")],
        [(call(1), "sunny"), (call(2, turn=2), "noon")],
        [(call(1, turn=2), "sunny"), (call(2, turn=2), "noon")],
        [(call(1), "sunny"), (call(2, run="run-" + "b" * 20), "noon")],
        [(call(1), "sunny"), ("call_of_somebody_else", "noon")],
        [(call(1, run="run-" + "b" * 20), "sunny")],
        [(f"{call(1)}\n", "sunny"), (call(2), "noon")],
    ],
)
async def test_anything_else_is_a_new_run(results):
    bench = Bench(PARKED)
    assert await bench(results) is None
    assert bench.manager.launched == []
    assert len(bench.runs.logs[RUN]) == len(PARKED)


@pytest.mark.parametrize("stored", [PARKED[:3], GONE_ON, [*GONE_ON, *log(ended())[1:]], []])
async def test_a_run_that_does_not_wait_or_whose_content_is_deleted_is_left_alone(stored):
    bench = Bench(stored)
    assert await bench(BOTH) is None
    assert bench.manager.launched == []


async def test_another_key_does_not_go_on_with_the_run():
    bench = Bench(PARKED)
    assert await bench(BOTH, caller=Principal("default", "other")) is None


async def test_a_client_that_sends_its_answers_again_finds_the_run_that_heard_them():
    bench = Bench(GONE_ON)
    found = await bench(BOTH, retry=True)
    assert found.run_id == RUN
    assert bench.manager.launched == []
    assert await bench([(call(1), "rainy"), (call(2), "noon")], retry=True) is None


async def test_who_comes_second_gets_a_new_run():
    bench = Bench(PARKED)

    class Late(MemoryJournal):
        async def commit(self, transition):
            raise FencedError("went on elsewhere")

    bench.entry.memory = Late()
    assert await bench(BOTH) is None
    assert bench.manager.launched == []


async def test_a_run_whose_revision_is_gone_is_an_error_that_says_so():
    bench = Bench(PARKED)

    class Lost(OneJournal):
        async def resume(self, run_id, opened):
            raise NotFoundError("there is no revision")

    with pytest.raises(NotFoundError):
        await Continuer(bench.runs, Lost(bench.runs), bench.manager).continue_run(CALLER, answers(BOTH), retry=False)
