"""From an HTTP response to an outcome: no more is read than the cap, and what cannot be read is said plainly."""

import codecs
import json
from collections.abc import Mapping
from typing import Any, Final

import httpx2

from toolorchestra.core.calls import Outcome, Status
from toolorchestra.core.errors import UpstreamError
from toolorchestra.executors.outcomes import MAX_ERROR_BYTES, clip

CHUNK_BYTES: Final = 16_384  # the most that is read beyond the cap
_BINARY: Final = ("image/", "audio/", "video/", "font/", "application/pdf", "application/zip", "application/gzip")
_ABSENT: Final = object()


class UnreadableAnswerError(UpstreamError):
    """The answer arrived, but a model cannot be shown it."""

    code = "unreadable_answer"
    retryable = False


async def read_capped(response: httpx2.Response, max_bytes: int) -> tuple[bytes, bool]:
    """The first ``max_bytes`` of the body, and whether there was more. The rest is never read."""
    body = bytearray()
    async for part in response.aiter_bytes(CHUNK_BYTES):
        body += part
        if len(body) > max_bytes:
            return bytes(body[:max_bytes]), True
    return bytes(body), False


async def read_outcome(response: httpx2.Response, *, max_bytes: int, result: str | None = None) -> Outcome:
    """The outcome of a response that has begun. Raises httpx2 errors while reading, and UnreadableAnswerError."""
    details: dict[str, Any] = {"httpStatus": response.status_code}
    if not response.is_success:
        body, _ = await read_capped(response, min(max_bytes, MAX_ERROR_BYTES))
        return _refused(response, body, details)
    if _media_type(response).startswith(_BINARY) and not _media_type(response).endswith("+xml"):
        raise UnreadableAnswerError(f"the answer is {_media_type(response)}, which cannot be shown as text")
    body, truncated = await read_capped(response, max_bytes)
    text = decode(body, response.charset_encoding, complete=not truncated)
    if result is not None:
        text, cut = clip(pick(text, result, truncated=truncated), max_bytes)
        truncated = cut
    return Outcome(
        status=Status.OK,
        content=text or f"done (HTTP {response.status_code}, empty answer)",
        truncated=truncated,
        details=details,
    )


def decode(body: bytes, charset: str | None, *, complete: bool) -> str:
    """A body as text; a character cut at the end is dropped. Raises UnreadableAnswerError for binary data."""
    try:
        decoder = codecs.getincrementaldecoder(charset or "utf-8")(errors="strict")
    except LookupError:
        decoder = codecs.getincrementaldecoder("utf-8")(errors="strict")
    try:
        text = decoder.decode(body, final=complete)
    except UnicodeDecodeError as error:
        raise UnreadableAnswerError(f"the answer is binary: {len(body)} bytes that are not text") from error
    if "\x00" in text:
        raise UnreadableAnswerError(f"the answer is binary: {len(body)} bytes with NUL characters")
    return text


def pick(text: str, path: str, *, truncated: bool) -> str:
    """The part of a JSON answer at a dotted path, as text. Raises UnreadableAnswerError that says what is there."""
    if truncated:
        raise UnreadableAnswerError(
            f"the answer is too long to take {path!r} out of it", hint="raise spec.maxResultBytes or ask for less"
        )
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UnreadableAnswerError(f"the answer is not JSON, so {path!r} cannot be taken out of it") from error
    for step in path.split("."):
        inner = _step(value, step)
        if inner is _ABSENT:
            raise UnreadableAnswerError(f"the answer has no {path!r}: {step!r} not found {_among(value)}")
        value = inner
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _refused(response: httpx2.Response, body: bytes, details: dict[str, Any]) -> Outcome:
    said = body.decode("utf-8", "replace").replace("\x00", "").strip()
    text = f"HTTP {response.status_code} {response.reason_phrase}".strip()
    if response.has_redirect_location:
        said = f"redirects are not followed; it points to {response.headers['location']}"
    return Outcome(
        status=Status.ERROR,
        content=f"{text}: {said}" if said else text,
        error_code=f"http_{response.status_code}",
        details=details,
    )


def _media_type(response: httpx2.Response) -> str:
    header: str = response.headers.get("content-type", "")
    return header.partition(";")[0].strip().lower()


def _step(value: Any, step: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(step, _ABSENT)
    if isinstance(value, list) and step.isdigit() and int(step) < len(value):
        return value[int(step)]
    return _ABSENT


def _among(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"among {', '.join(sorted(map(str, value))[:20]) or 'no fields'}"
    return f"in a list of {len(value)}" if isinstance(value, list) else f"in a {type(value).__name__}"
