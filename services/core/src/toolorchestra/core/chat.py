"""One call of a chat model, as the loop and the executors speak of it. Shapes follow the OpenAI chat completions API."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final, Protocol, TypeAlias

from toolorchestra.core.errors import UpstreamError, UpstreamTimeoutError
from toolorchestra.core.functions import ExpertTarget
from toolorchestra.core.pricing import Price, Usage

WireMessage: TypeAlias = Mapping[str, Any]  # an OpenAI chat message
WireTool: TypeAlias = Mapping[str, Any]  # an OpenAI function tool
_MAY_PASS: Final = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS)


def content_text(content: object) -> str:
    """The text of a message's content: a string, or its text parts joined."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
    return ""


class DeltaKind(StrEnum):
    """What a piece of streamed text belongs to."""

    CONTENT = "content"
    REASONING = "reasoning"


OnDelta: TypeAlias = Callable[[DeltaKind, str], Awaitable[None]]


@dataclass(slots=True)
class Meter:
    """What is known of a call while it runs, so that a cancelled call can still be paid for.

    ``sent``: the request may have left. ``usage``: exact once the provider stated it (``exact``), until then the input bound
    and the output received so far (in tokens, an upper bound by bytes).
    """

    sent: bool = False
    usage: Usage = field(default_factory=Usage)
    exact: bool = False


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One chat completion to ask of ``target``. ``timeout_ms`` bounds the whole call; ``max_tokens`` the output.

    ``input_bound``: the most tokens that messages and tools can become, where that is known already.
    """

    target: ExpertTarget
    messages: Sequence[WireMessage]
    max_tokens: int
    timeout_ms: int
    tools: Sequence[WireTool] = ()
    input_bound: int | None = None
    tool_choice: str | Mapping[str, Any] | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: str | Sequence[str] | None = None
    response_format: Mapping[str, Any] | None = None
    on_delta: OnDelta | None = None
    meter: Meter = field(default_factory=Meter)
    headers: Mapping[str, str] = field(default_factory=dict)
    price: Price = field(default_factory=Price)  # for the span's cost only
    extra: Mapping[str, Any] = field(default_factory=dict)  # further fields of the wire, for a pass-through


@dataclass(frozen=True, slots=True)
class ChatToolCall:
    """A function call that a model asked for; ``arguments`` is the text as written, perhaps not valid JSON."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ChatReply:
    """The whole answer of one chat completion."""

    text: str
    usage: Usage
    reasoning: str = ""
    tool_calls: tuple[ChatToolCall, ...] = ()
    finish_reason: str = "stop"
    estimated: bool = False
    latency_ms: int = 0
    model: str = ""


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    """One raw completion, for managers trained here: the prompt is text or token ids."""

    target: ExpertTarget
    prompt: str | Sequence[int]
    max_tokens: int
    timeout_ms: int
    temperature: float = 0.0
    seed: int | None = None
    stop: Sequence[str] = ()
    adapter: str | None = None
    logprobs: bool = False
    meter: Meter = field(default_factory=Meter)
    headers: Mapping[str, str] = field(default_factory=dict)
    price: Price = field(default_factory=Price)  # for the span's cost only


@dataclass(frozen=True, slots=True)
class CompletionReply:
    """The answer of one raw completion; ``tokens`` and ``logprobs`` where the server states them."""

    text: str
    usage: Usage
    finish_reason: str = "stop"
    tokens: tuple[str, ...] = ()
    logprobs: tuple[float, ...] = ()
    estimated: bool = False
    latency_ms: int = 0


class InterruptedCallError(UpstreamError):
    """A model call broke off; ``meter`` says what it used."""

    code = "upstream_interrupted"

    def __init__(self, message: str, *, meter: Meter, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.meter = meter


class ModelRefusedError(InterruptedCallError):
    """The model's server answered with an error status."""

    code = "upstream_refused"

    def __init__(self, message: str, *, meter: Meter, status: int, hint: str | None = None) -> None:
        super().__init__(message, meter=meter, hint=hint)
        self.status = status
        # The same request would be refused again; a limit or a fault of the server may pass.
        self.retryable = status in _MAY_PASS or status >= HTTPStatus.INTERNAL_SERVER_ERROR


class ModelTimeoutError(InterruptedCallError, UpstreamTimeoutError):
    """The deadline passed while the model was working."""

    code = UpstreamTimeoutError.code
    http_status = UpstreamTimeoutError.http_status


class ChatModels(Protocol):
    """Calls models. Raises UpstreamError (InterruptedCallError once the request may have left)."""

    async def chat(self, request: ChatRequest) -> ChatReply:
        """One chat completion, streamed upstream, returned whole."""
        ...

    async def complete(self, request: CompletionRequest) -> CompletionReply:
        """One raw completion."""
        ...
