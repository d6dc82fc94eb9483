"""Whatever models, tools, purses and processes do: a run ends with an answer, and every nano-dollar is accounted for."""

import asyncio
from dataclasses import dataclass, replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolorchestra.core.calls import INTERRUPTED, Status
from toolorchestra.core.loop import facts as f
from toolorchestra.core.loop import machine
from toolorchestra.core.loop.calls import parallel_names
from toolorchestra.core.loop.journal import DeniedError, Stamped, Take, Transition
from toolorchestra.core.loop.memory import MemoryJournal, Purse, open_episode
from toolorchestra.core.loop.state import CallPhase, State, fold
from toolorchestra.core.money import MAX_NANO_USD
from toolorchestra.core.pricing import Price, Usage
from toolorchestra.core.revision import Revision
from toolorchestra.core.testing import (
    Die,
    Fail,
    Hang,
    ModelBehaviour,
    MortalJournal,
    Peers,
    Result,
    Say,
    ScriptedExecutor,
    ScriptedModels,
    StepClock,
    ToolBehaviour,
    Use,
    a_revision,
    a_tool,
    an_expert,
    an_opening,
    take_over,
)

BOSS_PRICE = Price(input=1_000_000_000, output=2_000_000_000)
RESOURCES = (
    a_tool("lookup"),
    a_tool("free", pricing={}),
    a_tool("book", sideEffects="destructive"),
    a_tool("note", sideEffects="idempotent", execution="queued"),
    a_tool("fetch", execution="queued"),
    an_expert("boss"),
    an_expert("sage", pricing={"input": "3", "output": "15"}, strength=90),
)
CLIENT_TOOL = {"type": "function", "function": {"name": "ask_user", "parameters": {"type": "object"}}}
REVISIONS = {
    "chat": a_revision(*RESOURCES, manager="boss"),
    "signatures": a_revision(*RESOURCES, policy={"expertModelRef": {"name": "boss"}, "format": "signatures"}),
    "cascade": a_revision(*RESOURCES),
}

NAMES = st.sampled_from(["lookup", "free", "book", "note", "fetch", "sage", "ask_user", "nothing", "answer_from"])
ARGUMENTS = st.sampled_from(
    ['{"query": "x"}', '{"question": "y"}', '{"call": "1/1"}', '{"call": "²/9"}', "", "not json", "[1]", '{"query": 1e999}']
)
USAGES = st.builds(Usage, st.integers(0, 200), st.integers(0, 60), st.integers(0, 300))
OVERRUN = Usage(150, 5_000)
TEXTS = st.sampled_from(
    ["", " ", "the answer", "answer yes", 'call lookup {"query": "q"}', "answer_from 1/1", "\ud800\0", "think\nx"]
)
MODELS: st.SearchStrategy[ModelBehaviour] = st.one_of(
    st.builds(Say, TEXTS, usage=st.one_of(USAGES, st.just(OVERRUN))),
    st.builds(Use, st.lists(st.tuples(NAMES, ARGUMENTS), min_size=1, max_size=4).map(tuple), usage=USAGES),
    st.builds(Use, st.lists(st.tuples(NAMES, ARGUMENTS), min_size=1, max_size=4).map(tuple), usage=USAGES),
    st.builds(Fail, st.one_of(st.none(), USAGES), st.booleans(), st.booleans()),
    st.builds(Die, USAGES),
)
TOOLS: st.SearchStrategy[ToolBehaviour] = st.one_of(
    st.builds(Result, st.sampled_from(["", "42", "I cannot help", "\ud800"]), st.sampled_from(Status), USAGES),
    st.builds(Die, USAGES),
)
LIMITS = st.fixed_dictionaries(
    {
        "max_turns": st.integers(1, 6),
        "max_output_tokens": st.sampled_from([16, 64, 256]),
        "timeout_ms": st.sampled_from([1, 1_000, 20_000, 300_000]),
        "max_total_tokens": st.sampled_from([None, 256, 2_000]),
        "max_cost_nano_usd": st.one_of(st.none(), st.integers(6_400_000, 30_000_000)),
    }
)


@dataclass(frozen=True)
class Story:
    """One drawn world: who decides, what is allowed, how peers behave, and around which transitions the process dies."""

    policy: str
    limits: dict
    purse: int
    step_ms: int
    models: list
    tools: list
    before: list
    after: list
    cancel: bool

    @property
    def revision(self) -> Revision:
        return REVISIONS[self.policy]

    def peers(self) -> Peers:
        clock = StepClock(self.step_ms)
        return Peers(
            self.revision,
            ScriptedModels(self.models, price=BOSS_PRICE),
            ScriptedExecutor(self.tools),
            MortalJournal(before=self.before, after=self.after, clock=clock, purse=Purse(self.purse)),
        )


STORIES = st.builds(
    Story,
    st.sampled_from(["chat", "chat", "signatures", "cascade"]),
    LIMITS,
    st.one_of(st.just(MAX_NANO_USD), st.integers(6_400_000, 40_000_000)),
    st.sampled_from([0, 10, 2_000]),
    st.lists(MODELS, max_size=8),
    st.lists(TOOLS, max_size=8),
    st.lists(st.integers(2, 12), max_size=2),
    st.lists(st.integers(2, 12), max_size=2),
    st.booleans(),
)
PROPERTY = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])


async def play(story: Story, peers: Peers) -> State | None:
    """The story to its end; None if it was refused at the door."""
    opened = an_opening("What is 2 + 2?", limits=story.limits, client_tools=(CLIENT_TOOL,))
    try:
        await open_episode(peers.journal, story.revision, opened)
    except DeniedError:
        return None
    state = await take_over(peers)
    while state.parked_at is not None and state.ended is None:
        if story.cancel:
            peers.cancelled.request("the client")
        elif not await continue_run(peers, state):
            return state
        state = await take_over(peers)
    return state


async def continue_run(peers: Peers, state: State) -> bool:
    """The client answers its calls; False if there is no money to go on."""
    turn = state.turn
    waiting = {c.ordinal: "from the client" for c in turn.calls if c.phase is CallPhase.CLIENT}
    reserve = state.run.reserve.model_copy(update={"hold": f"final-{turn.number}"})
    fact = f.Continued(turn=turn.number, results=waiting, reserve=reserve)
    take = Take(f"run/{reserve.hold}", reserve.nano_usd, 1_000)
    try:
        await MemoryJournal.commit(peers.journal, Transition("run", state.seq, (fact,), takes=(take,)))
    except DeniedError:
        return False
    return True


def costs(log: list[Stamped]) -> tuple[int, int]:
    """What the facts say was spent: all of it, and what of that was assumed for interrupted attempts."""
    spent = lost = 0
    for stamped in log:
        match stamped.fact:
            case f.Decided(cost_nano_usd=amount):
                spent += amount
            case f.AskFailed(cost_nano_usd=amount, error_code=code):
                spent += amount
                lost += amount if code == INTERRUPTED else 0
            case f.CallsStarted(calls=calls):
                spent += sum(c.lost_nano_usd for c in calls)
                lost += sum(c.lost_nano_usd for c in calls)
            case f.CallFinished(outcome=outcome):
                spent += outcome.cost_nano_usd
                assumed = outcome.error_code in (INTERRUPTED, "insufficient_quota")
                lost += outcome.cost_nano_usd if assumed else 0
            case _:
                pass
    return spent, lost


def check_money(story: Story, peers: Peers, state: State) -> None:
    log = peers.journal.log["run"]
    spent, lost = costs(log)
    for purse in (peers.journal.purse, peers.journal.runs["run"]):
        assert purse.holds == {}
        assert purse.spent_nano_usd - purse.over_nano_usd <= purse.limit_nano_usd
        assert purse.spent_nano_usd == spent
    assert state.spent_nano_usd == spent == sum(turn.cost_nano_usd for turn in state.turns)
    heard = peers.models.bill.heard_nano_usd + peers.executor.bill.heard_nano_usd
    unheard = peers.models.bill.lost_nano_usd + peers.executor.bill.lost_nano_usd
    forgot = story.before or any(isinstance(b, Die) for b in story.tools)  # what was heard died with the process that heard it
    if not forgot:
        assert spent - lost == heard
        assert lost >= unheard
    elif not any(getattr(b, "usage", None) == OVERRUN for b in story.models):
        assert spent >= heard + unheard


@PROPERTY
@given(STORIES)
async def test_every_run_ends_with_an_answer_and_every_nano_dollar_is_accounted_for(story):
    peers = story.peers()
    state = await play(story, peers)
    if state is None:
        assert peers.journal.purse.holds == {}
        return
    assert state == fold("run", peers.journal.log["run"])
    assert state.parked_at is not None or state.ended is not None
    if state.ended is not None:
        assert state.ended.answer.strip()
        assert state.turns == () or state.turns[-1].number <= story.limits["max_turns"]
    check_money(story, peers, state)


@settings(PROPERTY, max_examples=40)
@given(STORIES)
async def test_every_prefix_of_a_log_taken_over_goes_on_to_an_end(story):
    peers = story.peers()
    state = await play(story, peers)
    if state is None:
        return
    log = peers.journal.log["run"]
    parallel = parallel_names(story.revision.functions)
    for length in range(1, len(log) + 1):
        other = Peers(story.revision, ScriptedModels(price=BOSS_PRICE))
        other.journal.log["run"] = log[:length]
        resumed = Transition("run", length, (f.Resumed(owner="another"),))
        await other.journal.commit(resumed)
        step = machine.decide(fold("run", other.journal.log["run"]), parallel=parallel)
        assert isinstance(step, machine.Step)
        end = await take_over(other)
        assert end == fold("run", other.journal.log["run"])
        assert end.parked_at is not None or end.ended.answer.strip()


@settings(PROPERTY, max_examples=40)
@given(STORIES)
async def test_a_run_taken_over_after_any_transition_accounts_for_its_money(story):
    peers = story.peers()
    if await play(story, peers) is None:
        return
    transitions = peers.journal.transitions
    for count in range(1, len(transitions) + 1):
        other = Peers(story.revision, ScriptedModels(price=BOSS_PRICE))
        for transition in transitions[:count]:
            await other.journal.commit(transition)
        await other.journal.commit(
            Transition("run", transitions[count - 1].after + len(transitions[count - 1].facts), (f.Resumed(owner="x"),))
        )
        end = await take_over(other)
        spent, _ = costs(other.journal.log["run"])
        assert other.journal.purse.holds == {}
        assert other.journal.purse.spent_nano_usd == spent == end.spent_nano_usd


@settings(PROPERTY, max_examples=60)
@given(STORIES)
async def test_every_stored_fact_reads_back_as_it_was(story):
    peers = story.peers()
    if await play(story, peers) is None:
        return
    for stamped in peers.journal.log["run"]:
        assert f.load(f.dump(stamped.fact)) == stamped.fact


@settings(PROPERTY, max_examples=80)
@given(STORIES, st.integers(0, 40), st.integers(0, 3))
async def test_a_run_cancelled_at_any_moment_ends_at_once_and_accounts_for_its_money(story, moment, calls):
    """Whatever is under way then hangs for ever, so only the wish can end it."""
    models = [*story.models[:calls], *(Hang() for _ in range(20))]
    peers = replace(
        story, models=models, tools=[*story.tools[:calls], *(Hang() for _ in range(80))], before=[], after=[]
    ).peers()
    opened = an_opening("What is 2 + 2?", limits=story.limits | {"timeout_ms": 300_000})
    try:
        await open_episode(peers.journal, story.revision, opened)
    except DeniedError:
        return
    driving = asyncio.create_task(take_over(peers))
    for _ in range(moment):
        await asyncio.sleep(0)
    peers.cancelled.request("the client")
    async with asyncio.timeout(5):
        state = await driving
    spent, _ = costs(peers.journal.log["run"])
    assert state == fold("run", peers.journal.log["run"])
    assert state.ended is not None or state.parked_at is not None
    assert peers.journal.purse.holds == {}
    assert peers.journal.purse.spent_nano_usd == spent == state.spent_nano_usd
