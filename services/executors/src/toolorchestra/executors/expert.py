"""Experts as tools: a question for a model, with the operation's instructions as its system prompt."""

from typing import Any

from toolorchestra.core.calls import CallRequest, DeltaSink, Outcome, Status
from toolorchestra.core.chat import (
    ChatModels,
    ChatReply,
    ChatRequest,
    DeltaKind,
    InterruptedCallError,
    Meter,
    OnDelta,
)
from toolorchestra.core.errors import InvalidArgumentsError, InvalidManifestError, ToolOrchestraError
from toolorchestra.core.experts import expert_messages
from toolorchestra.core.functions import ExpertTarget
from toolorchestra.executors.outcomes import failure


class ExpertExecutor:
    """Calls experts. The outcome carries the usage; whoever dispatched the call knows its price."""

    def __init__(self, models: ChatModels) -> None:
        self._models = models

    async def execute(self, call: CallRequest) -> Outcome:
        """The expert's answer."""
        try:
            reply = await self._models.chat(chat_request(call))
        except InterruptedCallError as error:
            return failure(error, sent=True).model_copy(update=_used(error.meter))
        except ToolOrchestraError as error:
            return failure(error, sent=call.meter.sent).model_copy(update=_used(call.meter))
        return _outcome(call, reply)


def chat_request(call: CallRequest) -> ChatRequest:
    """The call as a chat completion. Raises InvalidArgumentsError."""
    target = call.function.target
    if not isinstance(target, ExpertTarget):
        raise InvalidManifestError(f"{call.function.name} is not an expert", param="target")
    question = call.arguments.get("question")
    if not isinstance(question, str) or not question.strip():
        raise InvalidArgumentsError("the argument 'question' must be a text", param="question", hint="write the question")
    return ChatRequest(
        target=target,
        messages=expert_messages(target, call.arguments),
        max_tokens=call.max_output_tokens or call.function.max_output_tokens or target.spec.max_output_tokens,
        timeout_ms=call.timeout_ms,
        temperature=target.spec.temperature,
        price=call.function.price,
        on_delta=_content_only(call.on_delta),
        meter=call.meter,
        headers=call.headers,
    )


def _content_only(sink: DeltaSink | None) -> OnDelta | None:
    if sink is None:
        return None

    async def pass_on(kind: DeltaKind, text: str) -> None:
        if kind is DeltaKind.CONTENT:
            await sink(text)

    return pass_on


def _used(meter: Meter) -> dict[str, Any]:
    return {"usage": meter.usage, "estimated": meter.sent and not meter.exact}


def _outcome(call: CallRequest, reply: ChatReply) -> Outcome:
    details: dict[str, Any] = {"model": reply.model, "finishReason": reply.finish_reason}
    if call.function.simulated:
        details["simulated"] = True
    cut = reply.finish_reason == "length"
    empty = not reply.text.strip()
    return Outcome(
        status=Status.ERROR if empty else Status.OK,
        content=_nothing_said(call, cut=cut) if empty else reply.text,
        error_code="empty_answer" if empty else None,
        usage=reply.usage,
        estimated=reply.estimated,
        latency_ms=reply.latency_ms,
        truncated=cut,
        details=details,
    )


def _nothing_said(call: CallRequest, *, cut: bool) -> str:
    if cut:
        return f"{call.function.name} used all of its output tokens before it answered"
    return f"{call.function.name} gave an empty answer"
