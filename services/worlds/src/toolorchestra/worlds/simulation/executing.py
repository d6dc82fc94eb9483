"""Simulated experts as an executor of the core, for episodes in memory: priced, labelled, with virtual latencies."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from typing_extensions import override

from toolorchestra.core.calls import CallRequest, Executor, Outcome, Status
from toolorchestra.core.chat import ChatReply, ChatRequest
from toolorchestra.core.errors import InvalidArgumentsError, InvalidManifestError
from toolorchestra.core.experts import expert_messages
from toolorchestra.core.functions import ExpertTarget
from toolorchestra.core.pricing import Usage, cost
from toolorchestra.worlds.naming import BAGGAGE_KEY
from toolorchestra.worlds.simulation.models import SimulatedModels, SimulatedTimeoutError


class SimulatedExpertExecutor(Executor):
    """Calls simulated experts as tools. ``session`` is that of calls which bring none."""

    def __init__(self, models: SimulatedModels, *, session: str | None = None) -> None:
        self._models = models
        self._session = session

    @override
    async def execute(self, call: CallRequest) -> Outcome:
        """The expert's reply. Raises InvalidManifestError for a function that is no expert."""
        target = call.function.target
        if not isinstance(target, ExpertTarget):
            raise InvalidManifestError(f"{call.function.name} is not an expert", param="target")
        if not str(call.arguments.get("question") or "").strip():
            error = InvalidArgumentsError("the argument 'question' must be a text", param="question", hint="write the question")
            return Outcome(status=Status.ERROR, content=str(error), error_code=error.code, sent=False)
        try:
            reply = await self._models.chat(self._request(call, target))
        except SimulatedTimeoutError as error:
            return _late(call, error)
        return _outcome(call, reply)

    def _request(self, call: CallRequest, target: ExpertTarget) -> ChatRequest:
        return ChatRequest(
            target=target,
            messages=expert_messages(target, call.arguments),
            max_tokens=call.max_output_tokens or call.function.max_output_tokens or target.spec.max_output_tokens,
            timeout_ms=call.timeout_ms,
            price=call.function.price,
            meter=call.meter,
            headers=with_session(call.headers, call.session or self._session),
        )


def with_session(headers: Mapping[str, str], session: str | None) -> dict[str, str]:
    """The headers with the session in their W3C ``baggage``; an entry that stands there already is kept."""
    found = dict(headers)
    if session is None or f"{BAGGAGE_KEY}=" in found.get("baggage", ""):
        return found
    entry = f"{BAGGAGE_KEY}={quote(session, safe='')}"
    found["baggage"] = f"{found['baggage']},{entry}" if found.get("baggage") else entry
    return found


def _outcome(call: CallRequest, reply: ChatReply) -> Outcome:
    return Outcome(
        status=Status.OK,
        content=reply.text,
        truncated=reply.finish_reason == "length",
        details={"model": reply.model, "finishReason": reply.finish_reason, "simulated": True},
        **_paid(call, reply.usage, reply.latency_ms),
    )


def _late(call: CallRequest, error: SimulatedTimeoutError) -> Outcome:
    return Outcome(
        status=Status.TIMEOUT,
        content=error.message,
        error_code=error.code,
        details={"simulated": True},
        **_paid(call, error.meter.usage, error.latency_ms),
    )


def _paid(call: CallRequest, usage: Usage, latency_ms: int) -> dict[str, Any]:
    """What a call used and cost, failed or not."""
    price = cost(call.function.price, usage=usage, milliseconds=min(latency_ms, call.timeout_ms))
    return {"usage": usage, "latency_ms": latency_ms, "cost_nano_usd": price}
