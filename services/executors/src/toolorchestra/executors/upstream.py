"""OpenAI-compatible servers over the guarded client: a request is what stands here, and nothing of this process's environment.

Their SDK is not used: it costs more processor time per call than all else a call does, and it reads keys, organisations and
headers from the environment, which a tenant's endpoint must not receive.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import httpx2
from pydantic_core import to_json

from toolorchestra.core.calls import SecretReader
from toolorchestra.core.errors import NotFoundError, UnavailableError
from toolorchestra.core.functions import ExpertTarget
from toolorchestra.executors.assembly import Chunk, Tally, whole_as_chunk
from toolorchestra.kit.egress import EgressGuard, EgressLimits

CONNECT_S: Final = 10.0
DRAIN_S: Final = 0.1
_HEADERS: Final = {"accept": "application/json"}
_LIMITS: Final = EgressLimits(max_bytes=64 * 1024 * 1024, total_s=None)  # each call has its own deadline
_REFUSED_FIELD: Final = (400, 422)
_DONE: Final = b"[DONE]"
# Where an InferenceService may answer. Such an address is written by the operator alone, into a status.
_INSIDE: Final = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")


@dataclass(frozen=True, slots=True)
class Post:
    """One streamed request to a model's server."""

    target: ExpertTarget
    path: str  # below the base URL, e.g. ``chat/completions``
    body: Mapping[str, Any]
    headers: Mapping[str, str]


class StatusError(Exception):
    """The server answered with an error status; ``body`` is what it said, as JSON where it is that."""

    def __init__(self, status: int, body: object) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.body = body


class Upstream:
    """Opens streams. Remembers per server and model which standard fields it refuses."""

    def __init__(self, guard: EgressGuard, secrets: SecretReader) -> None:
        timeout = httpx2.Timeout(None, connect=CONNECT_S)
        self._http = guard.client(_HEADERS, timeout=timeout, limits=_LIMITS)
        self._inside = guard.opened(*_INSIDE).client(_HEADERS, timeout=timeout, limits=_LIMITS)
        self._secrets = secrets
        self._refused: dict[tuple[str, str], frozenset[str]] = {}

    async def aclose(self) -> None:
        await self._http.aclose()
        await self._inside.aclose()

    @asynccontextmanager
    async def open(self, post: Post, tally: Tally) -> AsyncIterator[AsyncIterator[Chunk]]:
        """The answer's chunks. Raises StatusError, httpx2's errors and ours; ``tally`` learns when the request may leave."""
        response = await self._post(post, await self.key(post.target), tally)
        try:
            async with aclosing(chunks_of(response)) as chunks:
                yield chunks
        finally:
            await response.aclose()

    async def key(self, target: ExpertTarget) -> str | None:
        """The API key to send. Raises UnavailableError if its Secret cannot be read."""
        endpoint = target.spec.endpoint
        ref = endpoint.api_key_secret_ref if endpoint else None
        if ref is None:
            return None
        try:
            return (await self._secrets.read(target.namespace, ref.name, ref.key)).strip()
        except NotFoundError as error:
            raise UnavailableError(f"the model {target.name!r} has no key: {error.message}", hint=error.hint) from error

    async def _post(self, post: Post, key: str | None, tally: Tally) -> httpx2.Response:
        where = (post.target.base_url, str(post.body.get("model")))
        client = self._http if post.target.spec.endpoint is not None else self._inside
        url = f"{post.target.base_url.rstrip('/')}/{post.path}"
        headers = {**post.headers, "content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
        while True:
            refused = self._refused.get(where, frozenset())
            request = client.build_request("POST", url, content=to_json(without(post.body, refused)), headers=headers)
            tally.sending()
            response = await client.send(request, stream=True)
            if response.is_success:
                return response
            error = await _status_error(response, key)
            found = refused_fields(error, post.body) - refused
            if not found:
                raise error
            # Refused requests are not worked on, so asking again without the field costs nothing.
            self._refused[where] = refused | found


def refused_fields(error: StatusError, body: Mapping[str, Any]) -> frozenset[str]:
    """Fields of ours that the server named as unknown: without them the call means the same."""
    if error.status not in _REFUSED_FIELD:
        return frozenset()
    said = json.dumps(error.body)
    found = {"stream_options"} & set(body) if "stream_options" in said else set()
    if "max_completion_tokens" in said and "max_tokens" in body:
        found.add("max_tokens")
    return frozenset(found)


def without(body: Mapping[str, Any], refused: frozenset[str]) -> dict[str, Any]:
    """The body for a server that refuses some fields; ``max_tokens`` then has its newer name."""
    kept = {name: value for name, value in body.items() if name not in refused}
    if "max_tokens" in refused:
        kept["max_completion_tokens"] = body["max_tokens"]
    return kept


def said_in(body: object) -> str | None:
    """The message inside an error body of the usual shapes."""
    if isinstance(body, Mapping):
        inner = body.get("message") or body.get("detail") or body.get("error")
        return said_in(inner) if isinstance(inner, Mapping) else inner and str(inner)
    return str(body) if body else None


async def _status_error(response: httpx2.Response, key: str | None) -> StatusError:
    """What an error response says, without the key, which some servers repeat in full."""
    try:
        text = (await response.aread()).decode(errors="replace").strip()
    finally:
        await response.aclose()
    text = text.replace(key, "***") if key else text
    try:
        return StatusError(response.status_code, json.loads(text))
    except (ValueError, RecursionError):
        return StatusError(response.status_code, text)


async def chunks_of(response: httpx2.Response) -> AsyncGenerator[Chunk, None]:
    """What a server streams, or says in one piece. Raises ValueError for an error in it and for what is not JSON."""
    if "application/json" in response.headers.get("content-type", ""):
        answer = json.loads(await response.aread())
        if isinstance(answer, Mapping):
            yield whole_as_chunk(answer)
        return
    events = _events(response.aiter_raw())
    async for event in events:
        if event.startswith(_DONE):
            await _drain(events)
            return
        chunk = json.loads(event)
        if isinstance(chunk, Mapping):
            if chunk.get("error"):
                raise ValueError(said_in(chunk))
            yield chunk


async def _events(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The data of each server-sent event."""
    data: list[bytes] = []
    async for line in _lines(parts):
        if line.startswith(b"data:"):
            data.append(line[5:].removeprefix(b" "))
        elif not line and data:
            yield b"\n".join(data)
            data.clear()


async def _lines(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Whole lines; a long one that comes in many pieces is not copied with each of them."""
    line = bytearray()
    async for part in parts:
        first, *further = part.split(b"\n")
        line += first
        for piece in further:
            yield bytes(line).removesuffix(b"\r")
            line = bytearray(piece)


async def _drain(events: AsyncIterator[bytes]) -> None:
    """Read the end of the answer, so that its connection can be used again; a server that does not end is left."""
    with suppress(TimeoutError, httpx2.RequestError):
        async with asyncio.timeout(DRAIN_S):
            async for _ in events:
                pass
