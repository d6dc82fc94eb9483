"""Small makers for the worker's unit tests."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from toolorchestra.core.calls import CallRequest, Outcome, Status
from toolorchestra.core.functions import Function, ToolTarget
from toolorchestra.core.pricing import Price
from toolorchestra.core.resources import ToolSpec
from toolorchestra.core.revision import Revision
from toolorchestra.kit.testing import MemorySignals
from toolorchestra.ledger.calls import CallState, Claim, StoredCall
from toolorchestra.worker.services.execution import Abilities, CallService
from toolorchestra.worker.testing import MemoryCalls, MemoryRevisions

CALL = "run1/2/3"
OK = Outcome(status=Status.OK, content="42", cost_nano_usd=7, latency_ms=5)


def function(**parts: Any) -> Function:
    spec = {
        "description": "adds",
        "plugin": {"name": "calculator"},
        "execution": parts.get("execution", "queued"),
        "sideEffects": parts.get("side_effects", "readOnly"),
        "minimumSandbox": parts.pop("minimum_sandbox", None),
    }
    target = ToolTarget(namespace="acme", name="adder", spec=ToolSpec.model_validate(spec))
    values = {
        "name": "adder", "description": "adds", "parameters": {}, "target": target, "side_effects": "readOnly",
        "execution": "queued", "price": Price(), "timeout_ms": 30_000,
    }  # fmt: skip
    return Function.model_validate({**values, **parts})


def revision(*functions: Function) -> Revision:
    return Revision(
        id="rev", tenant="acme", model="m", orchestrator=None, policy=None, manager=None, closing=None, functions=functions
    )


def claim(**parts: Any) -> Claim:
    values = {
        "call_id": CALL, "run_id": "run1", "tenant": "acme", "revision": "rev", "function": "adder", "arguments": {"x": 1},
        "attempt": 1, "left_ms": 10_000, "hold": f"{CALL}/1", "hold_nano_usd": 900, "max_output_tokens": 0,
        "side_effects": "readOnly", "traceparent": None,
    }  # fmt: skip
    return Claim(**{**values, **parts})


def stored(outcome: Outcome | None = None, state: CallState = CallState.DONE) -> StoredCall:
    return StoredCall(CALL, state, 1, outcome, f"{CALL}/1", 900, sent=True, deadline_at=datetime(2030, 1, 1, tzinfo=UTC))


class Tool:
    """An executor made of a function; knows what it was asked and whether it was cancelled."""

    def __init__(self, answer: Callable[[CallRequest], Awaitable[Outcome]] | Outcome | Exception = OK) -> None:
        self.asked: list[CallRequest] = []
        self.began = asyncio.Event()
        self.cancelled = False
        self._answer = answer

    async def execute(self, call: CallRequest) -> Outcome:
        self.asked.append(call)
        self.began.set()
        if isinstance(self._answer, Exception):
            raise self._answer
        if isinstance(self._answer, Outcome):
            return self._answer
        try:
            return await self._answer(call)
        except asyncio.CancelledError:
            self.cancelled = True
            raise


async def hang(_: CallRequest) -> Outcome:
    await asyncio.sleep(60)
    return OK


class Bench:
    """A service over stand-ins."""

    def __init__(self, *calls: Claim | StoredCall, tool: Tool | None = None, pinned: Function | None = None, **abilities: Any):
        self.calls = MemoryCalls(*calls)
        self.tool = tool or Tool()
        self.signals = MemorySignals()
        self.service = CallService(
            self.calls, MemoryRevisions([revision(pinned or function())]), self.tool, self.signals,
            Abilities(**{"lease_ms": 300, **abilities}),
        )  # fmt: skip

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(signal.channel, signal.payload.decode()) for signal in self.signals.published]

    @property
    def outcome(self) -> Outcome:
        (outcome,) = self.calls.finished
        return outcome
