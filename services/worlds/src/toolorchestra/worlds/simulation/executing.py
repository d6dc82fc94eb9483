"""Simulated experts as an executor of the core, for episodes in memory: priced, labelled, with virtual latencies."""

from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from toolorchestra.core.calls import CallRequest, Executor, Outcome, Status
from toolorchestra.core.chat import ChatReply, ChatRequest
from toolorchestra.core.errors import InvalidArgumentsError, InvalidManifestError
from toolorchestra.core.experts import expert_messages
from toolorchestra.core.functions import ExpertTarget
from toolorchestra.core.pricing import Usage, cost
from toolorchestra.core.sessions import session_headers
from toolorchestra.worlds.simulation.models import SimulatedModels, SimulatedTimeoutError


class SimulatedExpertExecutor(Executor):
    """Calls simulated experts as tools."""

    def __init__(self, models: SimulatedModels) -> None:
        self._models = models

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
            headers={**call.headers, **session_headers(call.session)},
        )


@dataclass(frozen=True, slots=True)
class StageExecutor(Executor):
    """Sends calls where they are answered: those of experts to the cast, all others to ``tools``."""

    experts: Executor
    tools: Executor

    @override
    async def execute(self, call: CallRequest) -> Outcome:
        return await (self.experts if call.function.is_expert else self.tools).execute(call)


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
