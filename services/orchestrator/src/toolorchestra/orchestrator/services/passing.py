"""What a metered pass-through does once its call is open: it passes chunks on, and settles, however the call ends."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

import structlog

from toolorchestra.core.chat import ChatRequest
from toolorchestra.core.errors import ToolOrchestraError
from toolorchestra.core.loop.facts import Decided, Decision, Ended
from toolorchestra.core.loop.journal import FencedError, Settle, Transition
from toolorchestra.core.money import NanoUsd, format_usd
from toolorchestra.core.openai import ChatCompletionRequest, error_body, usage_body
from toolorchestra.core.pricing import cost
from toolorchestra.core.revision import PinnedModel
from toolorchestra.ledger import money
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.journal import LedgerJournal
from toolorchestra.ledger.transitions import RunContext
from toolorchestra.orchestrator.services.responding import DONE

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PassedCall:
    """One paid call: the run it is stored as, and what is asked upstream."""

    context: RunContext
    model: PinnedModel
    wish: ChatCompletionRequest
    request: ChatRequest
    seq: int
    created: int
    began: float

    @property
    def hold(self) -> str:
        return f"{self.context.run_id}/1/0/1"

    def extension(self, amount: NanoUsd) -> dict[str, Any]:
        """What a response says of the call beside OpenAI's fields."""
        return {
            "run_id": self.context.run_id,
            "cost_usd": format_usd(amount),
            "cost_nano_usd": amount,
            "simulated": self.model.target.spec.simulated,
        }


class Settlement:
    """Stores the ends of calls. ``driven`` are the runs that are under way here."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.driven: set[str] = set()

    async def end(
        self, call: PassedCall, *, text: str, finish_reason: str, status: str = "completed", reason: str = "passed on"
    ) -> NanoUsd:
        """Store the end and settle what is known to have been used; the amount."""
        meter = call.request.meter
        latency_ms = int((monotonic() - call.began) * 1000)
        spent_ms = min(latency_ms, call.request.timeout_ms)
        amount = cost(call.model.price, usage=meter.usage, milliseconds=spent_ms) if meter.sent else 0
        estimate = meter.sent and not meter.exact
        decided = Decided(
            turn=1, attempt=1, decision=Decision(text=text), usage=meter.usage if meter.sent else None,
            cost_nano_usd=amount, estimated=estimate, latency_ms=latency_ms, finish_reason=finish_reason,
        )  # fmt: skip
        ended = Ended.model_validate(
            {
                "status": status,
                "answer": text,
                "reason": reason,
                "finish_reason": "length" if finish_reason == "length" else "stop",
            }
        )
        settle = Settle(call.hold, amount, estimate=estimate)
        transition = Transition(call.context.run_id, call.seq, (decided, ended), settles=(settle,), closes=True)
        try:
            await LedgerJournal(self._database, call.context).commit(transition)
        except FencedError:
            await self._correct(call, settle)
        finally:
            self.driven.discard(call.context.run_id)
        return amount

    async def fail(self, call: PassedCall, error: BaseException) -> None:
        """Store that the call failed, or (not an Exception) that nobody waits for it any more."""
        message = error.message if isinstance(error, ToolOrchestraError) else "the client went away"
        status = "failed" if isinstance(error, Exception) else "cancelled"
        await asyncio.shield(self.end(call, text="", finish_reason="stop", status=status, reason=message))

    async def _correct(self, call: PassedCall, settle: Settle) -> None:
        """Another process took the run for lost, ended it and assumed the worst: the truth takes the estimate's place."""
        logger.warning("run_lost", run=call.context.run_id)
        steps = [money.lock_of_hold(settle.hold), money.settle(settle.hold, settle.actual_nano_usd, estimate=settle.estimate)]
        await self._database.execute(steps, tenant=call.context.tenant)


@dataclass(slots=True)
class PassedStream:
    """The model's chunks as server-sent events under our id and name. Whoever has it must ``close`` it."""

    call: PassedCall
    chunks: AsyncGenerator[Any, None]
    first: Any
    settlement: Settlement
    settled: bool = False
    text: list[str] = field(default_factory=list)
    reason: str = "stop"

    async def events(self) -> AsyncGenerator[str, None]:
        """All events to the end of the response."""
        base = {"id": f"chatcmpl-{self.call.context.run_id}", "model": self.call.wish.model, "created": self.call.created}
        try:
            async with aclosing(self.chunks):
                chunk = self.first
                while chunk is not None:
                    if self._read(chunk):
                        yield _data({**chunk, **base, "usage": None})
                    chunk = await anext(self.chunks, None)
            self.settled = True
            amount = await self.settlement.end(self.call, text="".join(self.text), finish_reason=self.reason)
            for event in self._closing(base, amount):
                yield event
        except ToolOrchestraError as error:
            if not self.settled:
                self.settled = True
                await self.settlement.fail(self.call, error)
            yield _data(error_body(error))
            yield DONE

    async def close(self) -> None:
        """Settle a stream whose client went away, even before the first event."""
        if not self.settled:
            self.settled = True
            await self.chunks.aclose()
            await self.settlement.end(self.call, text="".join(self.text), finish_reason="stop", status="cancelled")

    def _read(self, chunk: Mapping[str, Any]) -> bool:
        """Note what the chunk says; whether it is one to pass on."""
        choices = chunk.get("choices") or []
        self.reason = next((c["finish_reason"] for c in choices if c.get("finish_reason")), self.reason)
        self.text += [(c.get("delta") or {}).get("content") or "" for c in choices]
        return bool(choices)

    def _closing(self, base: dict[str, Any], amount: NanoUsd) -> list[str]:
        options = self.call.wish.stream_options
        if options is None or not options.include_usage:
            return [DONE]
        usage = usage_body(self.call.request.meter.usage)
        last = {**base, "object": "chat.completion.chunk", "choices": [], "usage": usage}
        return [_data(last | {"toolorchestra": self.call.extension(amount)}), DONE]


def _data(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"
