"""Tools that take long: a rollout of many episodes takes hardly longer than its slowest one would by itself."""

import asyncio
import selectors
from dataclasses import dataclass, replace
from random import Random

import pytest

from toolorchestra.core.calls import Executor
from toolorchestra.core.loop.facts import Decision, Intent
from toolorchestra.core.policyformat import output_of
from toolorchestra.training.grpo.policies import PolicyBackend, Written
from toolorchestra.training.grpo.rollouts import Engine, Seat
from toolorchestra.training.grpo.tiny.routes import Draw
from toolorchestra.training.grpo.tiny.staging import LIMITS, scene_of
from toolorchestra.training.grpo.tokens import HfCodec

EPISODES = 128
TURNS = 4  # with a call
MOST = 1.3


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time stands still while something is to be done, and jumps to what comes next when nothing is."""

    def __init__(self):
        super().__init__(Jumping(self))
        self.passed = 0.0

    def time(self):
        return self.passed


class Jumping(selectors.DefaultSelector):
    def __init__(self, loop):
        super().__init__()
        self._loop = loop

    def select(self, timeout=None):
        self._loop.passed += timeout or 0.0
        return super().select(0)


@dataclass
class Slow(Executor):
    """A tool that answers after so many seconds of the event loop's clock, drawn for each call."""

    inner: Executor
    between: tuple[float, float]
    random: Random

    async def execute(self, call):
        await asyncio.sleep(self.random.uniform(*self.between))
        return await self.inner.execute(call)


@dataclass
class Persistent(PolicyBackend):
    """Calls the first tool in each turn but the last. A batch takes ``seconds``, and only one is written at a time."""

    codec: HfCodec
    seconds: float = 0.0
    batches: int = 0

    def __post_init__(self):
        self._busy = asyncio.Lock()

    def begin(self, step):
        pass

    async def write(self, turns):
        self.batches += 1
        async with self._busy:
            await asyncio.sleep(self.seconds)
        return [self._written(self.codec.decode(turn.ids)) for turn in turns]

    def _written(self, text):
        name, _, rest = text.partition("Tools:\n")[2].partition("(")
        call = Decision(calls=(Intent(function=name, arguments={rest.partition(":")[0]: "7"}),))
        said = output_of(call if text.count("\nresult ") < TURNS else Decision(answer_from="1/1"))
        ids = [*self.codec.encode(said), self.codec.stop]
        return Written(ids, [0.0] * len(ids), 0)


def seats(between, count=EPISODES):
    limits = LIMITS.model_copy(update={"max_turns": TURNS + 2, "timeout_ms": 3_600_000})

    def seat(number):
        scene = scene_of(Draw(5).task(number))
        opened = scene.opened.model_copy(update={"limits": limits})
        return Seat(replace(scene, opened=opened, executor=lambda: Slow(scene.executor(), between, Random(number))))

    return [seat(number) for number in range(count)]


def played(loop, codec, chosen, *, batch_s=0.0):
    """How many seconds of the loop's clock it takes to play these, and in how many batches the policy writes."""

    async def timed():
        backend, began = Persistent(codec, batch_s), loop.time()
        episodes = await Engine(backend, codec).play(chosen)
        assert all(len(episode.state.turns) == TURNS + 1 for episode in episodes)
        return loop.time() - began, backend.batches

    try:
        return loop.run_until_complete(timed())
    finally:
        loop.close()


@pytest.mark.parametrize("batch_s", [0.0, 0.5])
@pytest.mark.parametrize("between", [(5.0, 5.0), (4.0, 6.0), (0.0, 10.0)])
def test_five_second_tools_on_a_virtual_clock(codec, between, batch_s, capsys):
    chosen = seats(between)
    slowest = max(played(VirtualLoop(), codec, [seat], batch_s=batch_s)[0] for seat in chosen)
    together, batches = played(VirtualLoop(), codec, chosen, batch_s=batch_s)
    with capsys.disabled():
        print(f"\ntools of {between} s, {batch_s} s a batch: {together / slowest:.3f} of the slowest, {batches} batches")
    assert together <= MOST * slowest


def test_tools_on_the_real_clock(codec, capsys):
    """What the episodes compute themselves, which a busy machine draws out, is measured apart."""
    computing, _ = played(asyncio.new_event_loop(), codec, seats((0.0, 0.0), count=32))
    together, batches = played(asyncio.new_event_loop(), codec, seats((1.0, 1.0), count=32))
    with capsys.disabled():
        print(f"\n32 episodes of {TURNS} tools of 1 s: {together:.2f} s, of it {computing:.2f} s computing, {batches} batches")
    assert together - computing <= MOST * TURNS
