"""Tools that are one HTTP request, and the sender that every HTTP tool goes through."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import httpx2

from toolorchestra.core.calls import CallRequest, Outcome, SecretReader, Status
from toolorchestra.core.errors import EgressDeniedError, InvalidManifestError, ToolOrchestraError, UpstreamError
from toolorchestra.core.functions import ToolTarget
from toolorchestra.core.resources.tool import HttpBackend
from toolorchestra.executors.headers import read_headers, trace_headers
from toolorchestra.executors.outcomes import failure, timed_out
from toolorchestra.executors.reading import UnreadableAnswerError, read_outcome
from toolorchestra.executors.templates import Arguments, HttpRequest, render
from toolorchestra.kit.egress import EgressGuard, EgressLimits, ResponseTooLargeError

CONNECT_S: Final = 10.0
FIRST_PAUSE_S: Final = 0.2
_RETRYABLE: Final = (429, 500, 502, 503, 504)
_HEADERS_LEAVE: Final = ("http11.send_request_headers.started", "http2.send_request_headers.started")
_LIMITS: Final = EgressLimits(total_s=None)  # the call's own deadline bounds the time


@dataclass(slots=True)
class _Wire:
    """What is known of an exchange from outside, also when it is cut off."""

    sent: bool = False
    attempts: int = 0

    async def trace(self, event: str, _info: Mapping[str, Any]) -> None:
        self.sent = self.sent or event in _HEADERS_LEAVE


@dataclass(frozen=True, slots=True)
class _Attempt:
    """The outcome of one attempt, whether another may help, and how long the server asks to wait."""

    outcome: Outcome
    retryable: bool = False
    pause_s: float | None = field(default=None)


class HttpSender:
    """Sends prepared requests within a call's deadline, repeats what may be repeated, reads no more than the cap."""

    def __init__(self, guard: EgressGuard) -> None:
        self._client = guard.client(timeout=httpx2.Timeout(None, connect=CONNECT_S), limits=_LIMITS)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def send(
        self, request: HttpRequest, call: CallRequest, *, headers: Mapping[str, str], max_bytes: int, result: str | None
    ) -> Outcome:
        """The outcome of the request. ``headers`` are the tool's own; trace and idempotency headers are added here."""
        wire = _Wire()
        own = {name.lower(): value for name, value in headers.items()}
        try:
            built = self._build(request, {**_standard_headers(request, call), **own}, wire)
            async with asyncio.timeout(call.timeout_ms / 1_000):
                outcome = await self._repeat(built, call, wire, max_bytes, result)
        except InvalidManifestError as error:
            outcome = failure(error, sent=False)
        except TimeoutError:
            outcome = timed_out(call.function, call.timeout_ms, sent=wire.sent)
        return outcome.model_copy(update={"details": {**outcome.details, "attempts": wire.attempts}})

    def _build(self, request: HttpRequest, headers: Mapping[str, str], wire: _Wire) -> httpx2.Request:
        try:
            url = httpx2.URL(request.url)
        except httpx2.InvalidURL as error:
            raise InvalidManifestError(f"{request.url!r} is not a URL: {error}", param="url") from error
        return self._client.build_request(
            request.method,
            url.copy_merge_params(request.query) if request.query else url,
            headers=headers,
            content=request.content,
            extensions={"trace": wire.trace},
        )

    async def _repeat(
        self, request: httpx2.Request, call: CallRequest, wire: _Wire, max_bytes: int, result: str | None
    ) -> Outcome:
        retries = 0 if call.function.side_effects == "destructive" else call.function.retries
        end = asyncio.get_running_loop().time() + call.timeout_ms / 1_000
        while True:
            wire.attempts += 1
            attempt = await self._attempt(request, wire, max_bytes, result)
            pause_s = _pause(attempt, wire.attempts)
            if wire.attempts > retries or not attempt.retryable or asyncio.get_running_loop().time() + pause_s > end:
                return attempt.outcome
            await asyncio.sleep(pause_s)

    async def _attempt(self, request: httpx2.Request, wire: _Wire, max_bytes: int, result: str | None) -> _Attempt:
        try:
            response = await self._client.send(request, stream=True)
            try:
                outcome = await read_outcome(response, max_bytes=max_bytes, result=result)
            finally:
                await response.aclose()
        except (EgressDeniedError, UnreadableAnswerError) as error:
            return _Attempt(failure(error, sent=wire.sent))
        except httpx2.RequestError as error:
            return _Attempt(_broken(request, error, sent=wire.sent), isinstance(error, httpx2.ConnectError))
        retryable = outcome.status is Status.ERROR and response.status_code in _RETRYABLE
        return _Attempt(outcome, retryable, _retry_after(response))


class HttpExecutor:
    """Calls tools of backend ``http``."""

    def __init__(self, sender: HttpSender, secrets: SecretReader) -> None:
        self._sender = sender
        self._secrets = secrets

    async def execute(self, call: CallRequest) -> Outcome:
        """The outcome of the tool's request."""
        target, backend = http_backend(call)
        try:
            arguments = Arguments.of(call.arguments, call.function.parameters)
            request = render(backend, arguments)
            headers = await read_headers(backend.headers, self._secrets, target.namespace, arguments=arguments)
        except ToolOrchestraError as error:
            return failure(error, sent=False)
        return await self._sender.send(
            request, call, headers=headers, max_bytes=target.spec.max_result_bytes, result=backend.result
        )


def http_backend(call: CallRequest) -> tuple[ToolTarget, HttpBackend]:
    """The target and its http backend. Raises InvalidManifestError if the function leads elsewhere."""
    target = call.function.target
    if not isinstance(target, ToolTarget) or target.spec.http is None:
        raise InvalidManifestError(f"{call.function.name} has no http backend", param="spec.http")
    return target, target.spec.http


def _standard_headers(request: HttpRequest, call: CallRequest) -> dict[str, str]:
    headers = trace_headers(call.headers)
    if request.content is not None:
        headers["content-type"] = "application/json"
    if call.function.side_effects != "readOnly":
        headers["idempotency-key"] = call.idempotency_key
    return headers


def _broken(request: httpx2.Request, error: httpx2.RequestError, *, sent: bool) -> Outcome:
    where = f"{request.url.host}:{request.url.port or request.url.scheme}"
    reason = str(error) or type(error).__name__
    if isinstance(error, ResponseTooLargeError | httpx2.DecodingError):
        return failure(UpstreamError(f"the answer of {where} was refused: {reason}"), sent=sent)
    text = "broke the connection" if sent else "cannot be reached"
    return failure(UpstreamError(f"{where} {text}: {reason}"), sent=sent)


def _pause(attempt: _Attempt, attempts: int) -> float:
    """Seconds before the next attempt: what the server asks, else doubling with jitter."""
    if attempt.pause_s is not None:
        return attempt.pause_s
    return FIRST_PAUSE_S * float(2 ** (attempts - 1)) * random.uniform(0.5, 1.0)


def _retry_after(response: httpx2.Response) -> float | None:
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdigit() else None
