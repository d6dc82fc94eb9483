"""One run of the real loop in memory, on a virtual clock: what models and tools say they took is the time that passes.

So latencies are exact, the same on every machine, and nobody waits for them.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from typing_extensions import override

from toolorchestra.core.calls import CallRequest, Executor, Outcome
from toolorchestra.core.chat import ChatModels, ChatReply, ChatRequest, CompletionReply, CompletionRequest
from toolorchestra.core.loop.context import HOLD_GRACE_MS, Context
from toolorchestra.core.loop.engine import drive
from toolorchestra.core.loop.facts import Continued, Opened
from toolorchestra.core.loop.journal import Take, Transition
from toolorchestra.core.loop.memory import InlineRunner, MemoryJournal, SilentObserver, open_episode
from toolorchestra.core.loop.state import CallPhase, CallState, State, fold
from toolorchestra.core.policies.closing import closing_quote, reserve_nano_usd
from toolorchestra.core.policies.factory import policy_for
from toolorchestra.core.revision import Revision
from toolorchestra.worlds.simulation.models import SimulatedTimeoutError

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
User: TypeAlias = Callable[[CallState], Awaitable[str]]  # answers a call of the client's own tool


class VirtualTime:
    """A clock that stands still until it is told what passes."""

    def __init__(self) -> None:
        self.passed_ms = 0

    def __call__(self) -> datetime:
        return EPOCH + timedelta(milliseconds=self.passed_ms)

    def seconds(self) -> float:
        """The time as the loop reads it between two transitions."""
        return self.passed_ms / 1_000

    def pass_ms(self, milliseconds: int, *, since_ms: int) -> None:
        """Something that began at ``since_ms`` took so long; what ran beside it takes no time of its own."""
        self.passed_ms = max(self.passed_ms, since_ms + milliseconds)


@dataclass(frozen=True, slots=True)
class TimedModels(ChatModels):
    """Models whose stated latency passes."""

    models: ChatModels
    time: VirtualTime

    @override
    async def chat(self, request: ChatRequest) -> ChatReply:
        began = self.time.passed_ms
        try:
            reply = await self.models.chat(request)
        except SimulatedTimeoutError as error:
            self.time.pass_ms(error.latency_ms, since_ms=began)
            raise
        self.time.pass_ms(reply.latency_ms, since_ms=began)
        return reply

    @override
    async def complete(self, request: CompletionRequest) -> CompletionReply:
        began = self.time.passed_ms
        reply = await self.models.complete(request)
        self.time.pass_ms(reply.latency_ms, since_ms=began)
        return reply


class TimedExecutor(Executor):
    """Calls whose stated latency passes; those of one turn begin together."""

    def __init__(self, executor: Executor, time: VirtualTime) -> None:
        self._executor = executor
        self._time = time
        self._began: tuple[str, int] = ("", 0)  # a turn, and when its first call began

    @override
    async def execute(self, call: CallRequest) -> Outcome:
        turn = call.call_id.rpartition("/")[0]
        together = call.function.side_effects == "readOnly"
        if self._began[0] != turn or not together:
            self._began = (turn, self._time.passed_ms)
        began = self._began[1]
        outcome = await self._executor.execute(call)
        self._time.pass_ms(outcome.latency_ms, since_ms=began)
        return outcome


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that is over, and the time that it took, without that of the user."""

    state: State
    latency_ms: int

    @property
    def answer(self) -> str:
        return self.state.ended.answer if self.state.ended else ""


async def play(
    revision: Revision, opened: Opened, *, models: ChatModels, executor: Executor, user: User | None = None, run_id: str = "run"
) -> Ended:
    """Drive a run to its end; calls of the client's own tools are answered by ``user``.

    Raises DeniedError when there is not even the money for a closing answer.
    """
    time = VirtualTime()
    journal = MemoryJournal(clock=time)
    timed = TimedModels(models, time)
    context = Context(
        run_id=run_id,
        revision=revision,
        journal=journal,
        policy=policy_for(revision, timed),
        runner=InlineRunner(TimedExecutor(executor, time)),
        observer=SilentObserver(),
        clock=time.seconds,
    )
    state = await drive(context, await open_episode(journal, revision, opened, run_id=run_id))
    while state.ended is None and user is not None:
        state = await drive(context, await _continue(journal, revision, state, await _answers(state, user)))
    return Ended(state, time.passed_ms)


async def _answers(state: State, user: User) -> dict[int, str]:
    turn = state.turn
    waiting = [call for call in turn.calls if call.phase is CallPhase.CLIENT] if turn else []
    return {call.ordinal: await user(call) for call in waiting}


async def _continue(journal: MemoryJournal, revision: Revision, state: State, results: Mapping[int, str]) -> State:
    """Go on with a parked run as the service does: a new reserve for its closing answer, then the client's results."""
    turn = state.turn.number if state.turn else 0
    quote = closing_quote(revision.closing, state.run)
    update = {"hold": f"final-{turn}", "nano_usd": reserve_nano_usd(quote), "max_tokens": quote.max_output_tokens}
    reserve = state.run.reserve.model_copy(update=update)
    take = Take(f"{state.run_id}/{reserve.hold}", reserve.nano_usd, state.run.limits.timeout_ms + HOLD_GRACE_MS, sent=False)
    fact = Continued(turn=turn, results=dict(results), reserve=reserve)
    await journal.commit(Transition(state.run_id, state.seq, (fact,), takes=(take,)))
    return fold(state.run_id, journal.log[state.run_id])
