"""How a pass-through ended, read from its facts alone, and what an OpenAI client is told of that, at once or much later."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from toolorchestra.core.calls import CANCELLED, INTERRUPTED
from toolorchestra.core.chat import ChatReply, ModelRefusedError
from toolorchestra.core.errors import EgressDeniedError, UnavailableError, UpstreamError, UpstreamTimeoutError
from toolorchestra.core.loop.facts import AskFailed, Decided, Ended, Fact
from toolorchestra.core.loop.state import State
from toolorchestra.core.money import NanoUsd, format_usd
from toolorchestra.core.openai import ChatCompletionRequest, Completion, error_body
from toolorchestra.core.pricing import Usage
from toolorchestra.orchestrator.services.responding import DONE, data

_STATUS: Final = {error.code: error.http_status for error in (EgressDeniedError, UnavailableError, UpstreamTimeoutError)}


class PassedCallError(UpstreamError):
    """The model gave no answer, as it was stored.

    ``final``: a client should not try again by itself, for the call cost something or would be refused again.
    """

    def __init__(self, message: str, *, code: str, billed: bool = False, refused: bool = False) -> None:
        super().__init__(message, hint="send it as a new request to try again" if billed else None)
        vars(self).update(code=code, http_status=_STATUS.get(code, UpstreamError.http_status))
        self.final = billed or refused


@dataclass(frozen=True, slots=True)
class PassedEnd:
    """The end of one call: the message that was said, as a whole or as far as it came, and its price."""

    message: dict[str, Any]
    finish_reason: str
    usage: Usage
    cost_nano_usd: NanoUsd
    status: str
    reason: str
    error: PassedCallError | None = None

    @classmethod
    def of(cls, state: State) -> "PassedEnd | None":
        """The end of a stored run; None while it has none."""
        turn = state.turn
        told = (turn.decided, turn.failure) if turn is not None else ()
        return cls.told(fact for fact in (*told, state.ended) if fact is not None)

    @classmethod
    def told(cls, facts: Iterable[Fact]) -> "PassedEnd | None":
        """The end that the facts tell; None while they tell of none."""
        told: dict[type, Fact] = {type(fact): fact for fact in facts}
        ended, decided, failed = told.get(Ended), told.get(Decided), told.get(AskFailed)
        if not isinstance(ended, Ended):
            return None
        if isinstance(decided, Decided):
            message = json.loads(decided.decision.output) if decided.decision.output else {"content": ended.answer}
            return cls(
                message, decided.finish_reason, decided.usage or Usage(), decided.cost_nano_usd, ended.status, ended.reason
            )
        error, usage, amount = _error(failed, ended), Usage(), 0
        if isinstance(failed, AskFailed):
            usage, amount = failed.usage or Usage(), failed.cost_nano_usd
        return cls({"content": ended.answer}, ended.finish_reason, usage, amount, ended.status, ended.reason, error)

    def extension(self, run_id: str, *, simulated: bool) -> dict[str, Any]:
        """What a response says of the call beside OpenAI's fields."""
        return {
            "run_id": run_id,
            "status": self.status,
            "cost_usd": format_usd(self.cost_nano_usd),
            "cost_nano_usd": self.cost_nano_usd,
            "simulated": simulated,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Envelope:
    """What all parts of one response share."""

    run_id: str
    wish: ChatCompletionRequest
    created: int
    simulated: bool

    @property
    def base(self) -> dict[str, Any]:
        """The fields of ours in the model's own chunks."""
        return {"id": f"chatcmpl-{self.run_id}", "model": self.wish.model, "created": self.created, "usage": None}

    def whole(self, end: PassedEnd) -> dict[str, Any]:
        """The body of a response that is not streamed."""
        return self._completion.whole(
            content=end.message.get("content"),
            tool_calls=end.message.get("tool_calls"),
            finish_reason=end.finish_reason,
            usage=end.usage,
            extension=end.extension(self.run_id, simulated=self.simulated),
            reasoning=end.message.get("reasoning_content") or "",
        )

    def said(self, message: dict[str, Any]) -> str:
        """A message as the one delta of a stream, or as its first, when the client comes later."""
        calls = [{"index": n, **call} for n, call in enumerate(message.get("tool_calls") or ())]
        filled = {"role": "assistant", **message, "tool_calls": calls}
        return self._chunk({name: value for name, value in filled.items() if value})

    def last(self, end: PassedEnd, *, finished: bool) -> list[str]:
        """The end of a stream: an error if there is no answer. ``finished``: the model's own chunks said why they end."""
        if end.error is not None:
            return [data(error_body(end.error)), DONE]
        extension = end.extension(self.run_id, simulated=self.simulated)
        chunks = [] if finished else [self._completion.finish(end.finish_reason, extension)]
        if self.wish.stream_options is not None and self.wish.stream_options.include_usage:
            chunks.append(self._completion.usage(end.usage, extension))
        return [*(data(chunk) for chunk in chunks), DONE]

    @property
    def _completion(self) -> Completion:
        return Completion(self.run_id, self.wish.model, self.created)

    def _chunk(self, delta: dict[str, Any]) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        return data({**self.base, "object": "chat.completion.chunk", "choices": [choice]})


def message_of(reply: ChatReply) -> dict[str, Any]:
    """What the model said, as the assistant's message."""
    calls = [{"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}} for c in reply.tool_calls]
    message: dict[str, Any] = {"content": reply.text or (None if calls else "")}
    if reply.reasoning:
        message["reasoning_content"] = reply.reasoning
    return {**message, "tool_calls": calls} if calls else message


def _error(failed: Fact | None, ended: Ended) -> PassedCallError | None:
    """Why there is no answer; None for a call that was cancelled: then what was said counts."""
    if not isinstance(failed, AskFailed):
        return PassedCallError(ended.reason, code=UpstreamError.code)
    if failed.error_code == CANCELLED:
        return None
    lost = failed.error_code == INTERRUPTED
    code = UnavailableError.code if lost else failed.error_code
    message = "the answer was lost with the process that awaited it" if lost else failed.message
    refused = code == ModelRefusedError.code and not failed.retryable
    return PassedCallError(message, code=code, billed=failed.cost_nano_usd > 0, refused=refused)
