"""What one drive of a run works with: its ports, and the draft of the next transition."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from typing import Final, Protocol, TypeAlias

from toolorchestra.core.calls import CallRequest, Outcome
from toolorchestra.core.chat import DeltaKind
from toolorchestra.core.functions import Function
from toolorchestra.core.loop.calls import shown
from toolorchestra.core.loop.facts import Fact
from toolorchestra.core.loop.journal import CallEnd, CallStart, Journal, Settle, Stamped, Take, Transition
from toolorchestra.core.loop.state import CallState, State, apply
from toolorchestra.core.policies.protocol import Policy, View
from toolorchestra.core.revision import Revision
from toolorchestra.core.sessions import session_headers

HOLD_GRACE_MS: Final = 30_000  # a hold outlives its call's deadline by this
MIN_TIMEOUT_MS: Final = 1_000  # of a closing answer, which begins late when what came before it took too long
MIN_STEP_MS: Final = 250  # of anything else
Clock: TypeAlias = Callable[[], float]


class Observer(Protocol):
    """Is told what happens while it happens: stored facts, and text that is not stored."""

    async def stored(self, facts: Sequence[Stamped]) -> None:
        """New facts of the run, in order, after they were stored."""
        ...

    async def delta(self, kind: DeltaKind, text: str) -> None:
        """A piece of text from a model, best effort."""
        ...


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A call whose end is not known here. ``left_ms`` is the time to its deadline, negative once that has passed."""

    call_id: str
    function: Function
    state: CallState
    left_ms: int
    tenant: str = ""
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Collected:
    """What became of a pending call. ``stored``: its row and its money are settled by whoever finished it."""

    outcome: Outcome
    attempt: int
    stored: bool = True


class CallRunner(Protocol):
    """Runs calls: inline here, or elsewhere by queue."""

    async def run(self, request: CallRequest) -> Outcome:
        """An inline call, to its end. Never raises for what a tool did."""
        ...

    async def collect(self, call: PendingCall) -> Collected:
        """What became of a call that runs elsewhere; waits until it ends or its time is up."""
        ...

    async def abandon(self, call: PendingCall) -> Collected:
        """What became of a call that runs elsewhere, now: it is not waited for any longer, and whoever runs it is told."""
        ...

    async def dispatch(self, calls: Sequence[tuple[str, str]]) -> None:
        """Announce calls, as (call id, execution), to the workers. May be repeated."""
        ...

    def headers(self) -> dict[str, str]:
        """Trace context to pass on."""
        ...


class Draft:
    """What the next transition will store, and the state as it will then be (its times still provisional)."""

    def __init__(self, base: State, clock: Clock = monotonic) -> None:
        self.base = base
        self.state = base
        self.facts: list[Fact] = []
        self.settles: list[Settle] = []
        self.ends: list[CallEnd] = []
        self._clock = clock
        self._began = clock()

    def add(self, fact: Fact) -> None:
        """Plan to store ``fact``."""
        now = self.base.now + timedelta(seconds=self._clock() - self._began)
        self.facts.append(fact)
        self.state = apply(self.state, Stamped(self.state.seq + 1, now, fact))


class Wish:
    """Something wished from outside while a run is driven. What is under way ``within`` it is broken off."""

    def __init__(self) -> None:
        self.by: str | None = None
        self._under_way: set[asyncio.Timeout] = set()

    def request(self, by: str) -> None:
        """Wish it; the first one counts. To be called in the loop that drives the run."""
        self.by = self.by or by
        for limit in self._under_way:
            if not limit.expired():
                limit.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def within(self, timeout_ms: int | None = None) -> AsyncIterator[None]:
        """Do the block until the wish comes, or the time is up: then it is cancelled, and TimeoutError is raised."""
        if self.by is not None:
            raise TimeoutError
        async with asyncio.timeout(None if timeout_ms is None else timeout_ms / 1_000) as limit:
            self._under_way.add(limit)
            try:
                yield
            finally:
                self._under_way.discard(limit)


@dataclass(frozen=True, slots=True)
class Context:
    """One run and its ports. ``clock`` reads seconds that go by as the journal's time does; virtual where that is.

    ``cancelled`` is the wish to end the run, at once. ``released`` is the wish to leave it to another process: what is under
    way is finished and stored, and nothing new begins.
    """

    run_id: str
    revision: Revision
    journal: Journal
    policy: Policy
    runner: CallRunner
    observer: Observer
    cancelled: Wish = field(default_factory=Wish)
    released: Wish = field(default_factory=Wish)
    clock: Clock = monotonic

    def draft(self, state: State) -> Draft:
        """What comes after ``state``, still empty."""
        return Draft(state, self.clock)

    def headers(self, state: State) -> dict[str, str]:
        """What is passed on with a call: the trace context and the run's session."""
        return self.runner.headers() | session_headers(state.run.session)

    def view(self, state: State) -> View:
        """What the policy may see of ``state``."""
        return View(state, self.revision, shown(self.revision, state.run))

    async def commit(
        self,
        draft: Draft,
        *facts: Fact,
        takes: Sequence[Take] = (),
        starts: Sequence[CallStart] = (),
        closes: bool = False,
        parks: bool = False,
    ) -> State:
        """Store the draft and ``facts`` in one transaction; the state after it."""
        stamped = await self.journal.commit(
            Transition(
                run_id=self.run_id,
                after=draft.base.seq,
                facts=(*draft.facts, *facts),
                takes=tuple(takes),
                settles=tuple(draft.settles),
                starts=tuple(starts),
                ends=tuple(draft.ends),
                closes=closes,
                parks=parks,
            )
        )
        state = draft.base
        for item in stamped:
            state = apply(state, item)
        await self.observer.stored(stamped)
        return state
