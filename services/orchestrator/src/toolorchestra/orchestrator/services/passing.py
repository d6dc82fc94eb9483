"""One metered pass-through under way: its chunks for whoever follows it, and its end, stored and settled however it comes.

It is driven in the background like any run, so a client that loses its connection may come back to it.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, Protocol

import structlog

from toolorchestra.core.calls import CANCELLED
from toolorchestra.core.chat import ChatModels, ChatReply, ChatRequest
from toolorchestra.core.errors import ToolOrchestraError, UnavailableError
from toolorchestra.core.loop.facts import AskFailed, CancelRequested, Decided, Decision, Ended, Fact
from toolorchestra.core.loop.journal import FencedError, Settle, Stamped, Transition
from toolorchestra.core.money import NanoUsd
from toolorchestra.core.pricing import cost
from toolorchestra.core.revision import PinnedModel
from toolorchestra.executors.assembly import ChatAssembly
from toolorchestra.ledger import money
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.journal import LedgerJournal
from toolorchestra.ledger.transitions import RunContext
from toolorchestra.orchestrator.services.manager import Wishes
from toolorchestra.orchestrator.services.passed import PassedEnd, message_of

logger = structlog.get_logger(__name__)

PATIENCE_S: Final = 30.0  # with a database that is away at the end of a call; then the run is lost, and its hold charged
PAUSE_S: Final = 0.5
STOPPED: Final = "the end of the process"


class StreamingModels(ChatModels, Protocol):
    """Models whose raw chunks can be passed on."""

    def stream(self, request: ChatRequest) -> AsyncGenerator[Any, None]:
        """The chunks of one chat completion as the server sent them."""
        ...


@dataclass(frozen=True, slots=True)
class PassedCall:
    """One paid call: the run it is stored as, and what is asked upstream."""

    context: RunContext
    model: PinnedModel
    request: ChatRequest
    seq: int

    @property
    def hold(self) -> str:
        return f"{self.context.run_id}/1/0/1"


class Settlement:
    """Stores the ends of calls."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def store(self, call: PassedCall, facts: Sequence[Fact], settle: Settle) -> Sequence[Stamped]:
        """The facts as they were stored; none if another process took the run for lost. While the database is away it waits."""
        journal = LedgerJournal(self._database, call.context)
        transition = Transition(call.context.run_id, call.seq, tuple(facts), settles=(settle,), closes=True)
        until = monotonic() + PATIENCE_S
        while True:
            try:
                return await journal.commit(transition)
            except FencedError:
                await self._correct(call, settle)
                return ()
            except UnavailableError as error:
                if monotonic() >= until:
                    raise
                logger.warning("end_not_stored", run=call.context.run_id, error=str(error))
                await asyncio.sleep(PAUSE_S)

    async def _correct(self, call: PassedCall, settle: Settle) -> None:
        """Another process ended the run and assumed the worst: the truth takes the estimate's place."""
        logger.warning("run_lost", run=call.context.run_id)
        steps = [money.lock_of_hold(settle.hold), money.settle(settle.hold, settle.actual_nano_usd, estimate=settle.estimate)]
        await self._database.execute(steps, tenant=call.context.tenant)


class Follower:
    """One client of a call: what was said before it came, then the model's own chunks to their end."""

    def __init__(self, said: dict[str, Any] | None) -> None:
        self.said = said
        self.waiting: asyncio.Queue[Mapping[str, Any] | None] = asyncio.Queue()  # as long as the answer at most

    async def next(self) -> Mapping[str, Any] | None:
        """The next chunk; None at the end."""
        return await self.waiting.get()


class PassedRun:
    """A call under way. ``end`` is set when nothing more comes; it is there even if it could not be stored."""

    def __init__(
        self, call: PassedCall, models: StreamingModels, settlement: Settlement, tell: Callable[[str, Sequence[Stamped]], None]
    ) -> None:
        self.call = call
        self.end: asyncio.Future[PassedEnd] = asyncio.get_running_loop().create_future()
        self._models = models
        self._settlement = settlement
        self._tell = tell
        self._assembly = ChatAssembly()
        self._began = monotonic()
        self._followers: list[Follower] = []

    def join(self) -> Follower:
        """Follow it from now on."""
        reply = self._reply()
        follower = Follower(message_of(reply) if reply.text or reply.reasoning or reply.tool_calls else None)
        if self.end.done():
            follower.waiting.put_nowait(None)
        self._followers.append(follower)
        return follower

    async def drive(self, wishes: Wishes) -> None:
        """Ask the model, pass on what it says, and store the end. A wish to cancel breaks it off; draining waits for it."""
        error: Exception | None = None
        by: str | None = None
        try:
            async with wishes.cancelled.within():
                await self._pass_on()
        except TimeoutError as late:
            by = wishes.cancelled.by
            error = late if by is None else None
        except asyncio.CancelledError:  # the process ends, and nobody else can go on with this; its end is stored all the same
            by = STOPPED
        except ToolOrchestraError as failure:
            error = failure
        except Exception as failure:  # a fault of ours: the call is settled and its clients are told all the same
            logger.exception("call_interrupted", run=self.call.context.run_id)
            error = failure
        facts, settle = self._outcome(error, by)
        try:
            stored = await self._settlement.store(self.call, facts, settle)
            if stored:
                self._tell(self.call.context.run_id, stored)
        finally:
            end = PassedEnd.told(facts)
            if end is not None:
                self.end.set_result(end)
            for follower in self._followers:
                follower.waiting.put_nowait(None)

    async def _pass_on(self) -> None:
        async with aclosing(self._models.stream(self.call.request)) as chunks:
            async for chunk in chunks:
                for _ in self._assembly.add(chunk):
                    pass
                told = self._assembly.alike(chunk)
                for follower in self._followers:
                    follower.waiting.put_nowait(told)

    def _reply(self) -> ChatReply:
        return self._assembly.reply(self.call.request.meter, latency_ms=int((monotonic() - self._began) * 1000))

    def _outcome(self, error: Exception | None, by: str | None) -> tuple[list[Fact], Settle]:
        """What is stored of the call, and what it costs by what is known to have been used."""
        reply, meter = self._reply(), self.call.request.meter
        estimate = meter.sent and not meter.exact
        amount = self._cost(reply.latency_ms)
        settle = Settle(self.call.hold, amount, estimate=estimate)
        used: dict[str, Any] = {
            "turn": 1,
            "attempt": 1,
            "usage": meter.usage if meter.sent else None,
            "cost_nano_usd": amount,
            "estimated": estimate,
            "latency_ms": reply.latency_ms,
        }
        if by is not None:
            said = f"the call was broken off: cancelled by {by}"
            failed = AskFailed(**used, error_code=CANCELLED, message=said)
            ended = Ended(status="cancelled", answer=reply.text, reason=f"cancelled by {by}", finish_reason="length")
            return [failed, CancelRequested(by=by), ended], settle
        if error is not None:
            return [*_failure(error, used)], settle
        decision = Decision(text=reply.text, output=json.dumps(message_of(reply), ensure_ascii=False))
        decided = Decided(**used, decision=decision, finish_reason=reply.finish_reason)
        cut = "length" if reply.finish_reason == "length" else "stop"
        return [decided, Ended(status="completed", answer=reply.text, reason="passed on", finish_reason=cut)], settle

    def _cost(self, latency_ms: int) -> NanoUsd:
        meter, request = self.call.request.meter, self.call.request
        spent_ms = min(latency_ms, request.timeout_ms)
        return cost(self.call.model.price, usage=meter.usage, milliseconds=spent_ms) if meter.sent else 0


def _failure(error: Exception, used: dict[str, Any]) -> tuple[Fact, Fact]:
    ours = isinstance(error, ToolOrchestraError)
    message = str(error) if ours else "an unexpected error happened; it was logged"
    code = error.code if isinstance(error, ToolOrchestraError) else ToolOrchestraError.code
    failed = AskFailed(**used, error_code=code, message=message, retryable=getattr(error, "retryable", False))
    return failed, Ended(status="failed", answer="", reason=message)
