"""Calls of chat models over HTTP: always streamed upstream, metered while they run, whole or chunk by chunk.

A call that breaks off is paid for by what is known: the input's bound and the output received. ``request.meter`` holds that
at any moment, also after a cancellation, which closes the connection so that the server stops.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
from opentelemetry import trace

from toolorchestra.core.calls import SecretReader
from toolorchestra.core.chat import (
    ChatReply,
    ChatRequest,
    CompletionReply,
    CompletionRequest,
    InterruptedCallError,
    ModelRefusedError,
    ModelTimeoutError,
)
from toolorchestra.core.errors import EgressDeniedError, ToolOrchestraError, UpstreamError, UpstreamTimeoutError
from toolorchestra.core.pricing import Price, cost
from toolorchestra.core.tokens import input_bound_tokens, prompt_bound_tokens
from toolorchestra.executors.assembly import ChatAssembly, Chunk, CompletionAssembly, Tally
from toolorchestra.executors.headers import span_attributes, trace_headers
from toolorchestra.executors.slots import Slots
from toolorchestra.executors.upstream import Post, StatusError, Upstream, said_in
from toolorchestra.kit import semconv
from toolorchestra.kit.egress import EgressGuard

MAX_SAID: Final = 500  # characters of a server's error text that are passed on
_UNSENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)
# A gateway gave up waiting; what stands behind it may have worked on.
_PERHAPS_USED: Final = (408, 502, 504)
_CHECK: Final = {401: "check its key", 403: "check its key", 404: "check its endpoint and spec.model"}
_OWN_FIELDS: Final = frozenset({"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens"})


@dataclass(slots=True)
class _Exchange:
    """One call upstream: what is posted, until when, and what it has used so far."""

    post: Post
    tally: Tally
    timeout_ms: int
    operation: str
    price: Price
    started: float = field(default=0.0)

    @property
    def latency_ms(self) -> int:
        return round((asyncio.get_running_loop().time() - self.started) * 1_000)


class ChatClient:
    """Calls models; see ``toolorchestra.core.chat.ChatModels`` for what it raises."""

    def __init__(
        self, guard: EgressGuard, secrets: SecretReader, *, slots: Slots | None = None, tracer: trace.Tracer | None = None
    ) -> None:
        self._upstream = Upstream(guard, secrets)
        self._slots = slots or Slots()
        self._tracer = tracer or trace.get_tracer("toolorchestra.executors")

    async def aclose(self) -> None:
        await self._upstream.aclose()

    async def chat(self, request: ChatRequest) -> ChatReply:
        """One chat completion, returned whole; ``request.on_delta`` receives its text as it arrives."""
        exchange, assembly = _chat_exchange(request), ChatAssembly()
        async with aclosing(self._run(exchange)) as chunks:
            async for chunk in chunks:
                for kind, text in assembly.add(chunk):
                    if request.on_delta is not None:
                        await request.on_delta(kind, text)
        return assembly.reply(request.meter, latency_ms=exchange.latency_ms)

    async def complete(self, request: CompletionRequest) -> CompletionReply:
        """One raw completion."""
        exchange, assembly = _completion_exchange(request), CompletionAssembly()
        async with aclosing(self._run(exchange)) as chunks:
            async for chunk in chunks:
                assembly.add(chunk)
        return assembly.reply(request.meter, latency_ms=exchange.latency_ms)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        """The chunks of one chat completion as the server sent them. Use it within ``contextlib.aclosing``."""
        async with aclosing(self._run(_chat_exchange(request))) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _run(self, exchange: _Exchange) -> AsyncGenerator[Chunk, None]:
        loop = asyncio.get_running_loop()
        exchange.started = loop.time()
        end = exchange.started + exchange.timeout_ms / 1_000
        span = self._start_span(exchange)
        with _ended(span, exchange), _translated(exchange):
            async with AsyncExitStack() as stack:
                async with asyncio.timeout_at(end):
                    await stack.enter_async_context(self._slots.hold(exchange.post.target))
                    exchange.started = loop.time()
                    with trace.use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False):
                        post = _with_trace(exchange.post)
                    chunks = await stack.enter_async_context(self._upstream.open(post, exchange.tally))
                while (chunk := await _next(chunks, end)) is not None:
                    exchange.tally.add(chunk)
                    yield chunk
                if not exchange.tally.answered:
                    raise ValueError("it answered without a single choice; check that its URL is that of an OpenAI API")

    def _start_span(self, exchange: _Exchange) -> trace.Span:
        body, target = exchange.post.body, exchange.post.target
        url = urlsplit(target.base_url)
        attributes = {
            semconv.OPERATION_NAME: exchange.operation,
            semconv.PROVIDER_NAME: "openai" if url.hostname == "api.openai.com" else url.hostname,
            semconv.REQUEST_MODEL: body["model"],
            semconv.REQUEST_MAX_TOKENS: body["max_tokens"],
            semconv.REQUEST_TEMPERATURE: body.get("temperature"),
            semconv.REQUEST_SEED: body.get("seed"),
            semconv.REQUEST_STREAM: True,
            semconv.SERVER_ADDRESS: url.hostname,
            semconv.SERVER_PORT: url.port,
            semconv.SIMULATED: target.spec.simulated or None,
        }
        name = f"{exchange.operation} {body['model']}"
        return self._tracer.start_span(name, kind=trace.SpanKind.CLIENT, attributes=span_attributes(attributes))


def chat_body(request: ChatRequest) -> dict[str, Any]:
    """The JSON body of a chat completion; what is not set is not sent."""
    optional = {
        "tools": list(request.tools) or None,
        "tool_choice": request.tool_choice if request.tools else None,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
        "stop": request.stop,
        "response_format": request.response_format,
    }
    return {
        **{name: value for name, value in request.extra.items() if name not in _OWN_FIELDS},
        **{name: value for name, value in optional.items() if value is not None},
        "model": request.target.spec.model,
        "messages": list(request.messages),
        "max_tokens": request.max_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def completion_body(request: CompletionRequest) -> dict[str, Any]:
    """The JSON body of a raw completion; a prompt of token ids is sent as ids."""
    optional = {
        "seed": request.seed,
        "stop": list(request.stop) or None,
        "logprobs": 1 if request.logprobs else None,
    }
    return {
        **{name: value for name, value in optional.items() if value is not None},
        "model": request.adapter or request.target.spec.model,
        "prompt": request.prompt if isinstance(request.prompt, str) else list(request.prompt),
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def _chat_exchange(request: ChatRequest) -> _Exchange:
    most = request.max_tokens * int(request.extra.get("n") or 1)
    known = request.input_bound
    bound = input_bound_tokens(request.messages, request.tools) if known is None else known
    tally = Tally(request.meter, bound, most)
    post = Post(request.target, "chat/completions", chat_body(request), request.headers)
    return _Exchange(post, tally, request.timeout_ms, semconv.OPERATION_CHAT, request.price)


def _completion_exchange(request: CompletionRequest) -> _Exchange:
    tally = Tally(request.meter, prompt_bound_tokens(request.prompt), request.max_tokens)
    post = Post(request.target, "completions", completion_body(request), request.headers)
    return _Exchange(post, tally, request.timeout_ms, semconv.OPERATION_TEXT_COMPLETION, request.price)


def _with_trace(post: Post) -> Post:
    return Post(post.target, post.path, post.body, trace_headers(post.headers))


async def _next(chunks: AsyncIterator[Chunk], end: float) -> Chunk | None:
    async with asyncio.timeout_at(end):
        return await anext(chunks, None)


@contextmanager
def _ended(span: trace.Span, exchange: _Exchange) -> Iterator[None]:
    """Ends the span with what was used, whatever happens."""
    try:
        yield
    except ToolOrchestraError as error:
        span.set_status(trace.StatusCode.ERROR, error.code)
        span.set_attribute(semconv.ERROR_TYPE, error.code)
        raise
    finally:
        usage = exchange.tally.meter.usage
        span.set_attribute(semconv.USAGE_INPUT_TOKENS, usage.input)
        span.set_attribute(semconv.USAGE_OUTPUT_TOKENS, usage.output)
        span.set_attribute(semconv.COST_NANO_USD, cost(exchange.price, usage=usage, milliseconds=exchange.latency_ms))
        span.set_attribute(semconv.COST_ESTIMATED, not exchange.tally.meter.exact)
        span.end()


@contextmanager
def _translated(exchange: _Exchange) -> Iterator[None]:
    """Turns the failures of a call into errors of ours that carry what it used."""
    target, tally = exchange.post.target, exchange.tally
    try:
        yield
    except EgressDeniedError:
        tally.never_left()
        raise
    except TimeoutError as error:
        text = f"the model {target.name!r} did not finish within {exchange.timeout_ms} ms"
        if tally.meter.sent:
            raise ModelTimeoutError(text, meter=tally.meter) from error
        raise UpstreamTimeoutError(f"{text}: all its places were taken", hint="raise spec.concurrency") from error
    except StatusError as error:
        raise _refused(target.name, error, tally) from error
    except httpx2.RequestError as error:
        raise _disconnected(target.name, error, tally) from error
    except (ValueError, RecursionError) as error:
        text = f"the model {target.name!r} broke off: {_short(str(error))}"
        raise InterruptedCallError(text, meter=tally.meter) from error


def _refused(name: str, error: StatusError, tally: Tally) -> ModelRefusedError:
    if error.status not in _PERHAPS_USED:
        tally.refused()
    said = said_in(error.body) or "it gave no reason"
    text = f"the model {name!r} refused the call: HTTP {error.status}: {_short(said)}"
    return ModelRefusedError(text, meter=tally.meter, status=error.status, hint=_CHECK.get(error.status))


def _disconnected(name: str, cause: BaseException, tally: Tally) -> UpstreamError:
    reason = _short(str(cause) or type(cause).__name__)
    if isinstance(cause, _UNSENT):
        tally.never_left()
        return UpstreamError(f"the model {name!r} cannot be reached: {reason}", hint="check its endpoint")
    return InterruptedCallError(f"the connection to the model {name!r} broke: {reason}", meter=tally.meter)


def _short(text: str) -> str:
    return text if len(text) <= MAX_SAID else f"{text[:MAX_SAID]}…"
