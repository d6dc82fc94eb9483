"""OpenAI-compatible servers by the official SDK: one guarded client, nothing of this process's environment sent along.

The SDK reads keys, organisations and headers from the environment; a tenant's endpoint must not receive them. So the
headers of a request are exactly those that stand here.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

import httpx2
import openai
from openai import AsyncOpenAI, AsyncStream, Omit
from typing_extensions import override

from toolorchestra.core.calls import SecretReader
from toolorchestra.core.errors import NotFoundError, UnavailableError
from toolorchestra.core.functions import ExpertTarget
from toolorchestra.executors.assembly import Chunk, Tally, whole_as_chunk
from toolorchestra.kit.egress import USER_AGENT, EgressGuard, EgressLimits

CONNECT_S: Final = 10.0
_LIMITS: Final = EgressLimits(max_bytes=64 * 1024 * 1024, total_s=None)  # each call has its own deadline
_REFUSED_FIELD: Final = (400, 422)
_PLACEHOLDER: Final = "unset"
# Where an InferenceService may answer. Such an address is written by the operator alone, into a status.
_INSIDE: Final = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")


@dataclass(frozen=True, slots=True)
class Post:
    """One streamed request to a model's server."""

    target: ExpertTarget
    path: str  # below the base URL, e.g. ``chat/completions``
    body: Mapping[str, Any]
    headers: Mapping[str, str]


class _Sdk(AsyncOpenAI):
    @property
    @override
    def default_headers(self) -> dict[str, str | Omit]:
        return {"Accept": "application/json", "Content-Type": "application/json", "User-Agent": USER_AGENT}


class Upstream:
    """Opens streams. Remembers per server and model which standard fields it refuses."""

    def __init__(self, guard: EgressGuard, secrets: SecretReader) -> None:
        timeout = httpx2.Timeout(None, connect=CONNECT_S)
        self._http = guard.client(timeout=timeout, limits=_LIMITS)
        self._inside = guard.opened(*_INSIDE).client(timeout=timeout, limits=_LIMITS)
        self._secrets = secrets
        self._refused: dict[tuple[str, str], frozenset[str]] = {}
        self._sdk = _Sdk(
            api_key=_PLACEHOLDER,
            admin_api_key=_PLACEHOLDER,
            organization=_PLACEHOLDER,
            project=_PLACEHOLDER,
            webhook_secret=_PLACEHOLDER,
            base_url="https://unset.invalid/v1",
            max_retries=0,
            http_client=self._http,
        )
        self._sdk_inside = self._sdk.with_options(http_client=self._inside)

    async def aclose(self) -> None:
        await self._http.aclose()
        await self._inside.aclose()

    @asynccontextmanager
    async def open(self, post: Post, tally: Tally) -> AsyncIterator[AsyncIterator[Chunk]]:
        """The answer's chunks. Raises the SDK's errors, httpx2's and ours; ``tally`` learns when the request may leave."""
        key = await self.key(post.target)
        headers = {**post.headers, "Authorization": f"Bearer {key}" if key else Omit()}
        try:
            stream = await self._post(post, headers, tally)
        except openai.APIStatusError as error:
            raise _redacted(error, key) from None
        try:
            yield _chunks(stream)
        finally:
            await stream.close()

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

    async def _post(self, post: Post, headers: Mapping[str, str | Omit], tally: Tally) -> AsyncStream[object]:
        where = (post.target.base_url, str(post.body.get("model")))
        sdk = self._sdk if post.target.spec.endpoint is not None else self._sdk_inside
        while True:
            refused = self._refused.get(where, frozenset())
            tally.sending()
            try:
                return await sdk.post(
                    f"{post.target.base_url.rstrip('/')}/{post.path}",
                    cast_to=object,
                    body=without(post.body, refused),
                    options={"headers": dict(headers)},
                    stream=True,
                    stream_cls=AsyncStream[object],
                )
            except openai.APIStatusError as error:
                found = refused_fields(error, post.body) - refused
                if not found:
                    raise
                # Refused requests are not worked on, so asking again without the field costs nothing.
                self._refused[where] = refused | found


def refused_fields(error: openai.APIStatusError, body: Mapping[str, Any]) -> frozenset[str]:
    """Fields of ours that the server named as unknown: without them the call means the same."""
    if error.status_code not in _REFUSED_FIELD:
        return frozenset()
    said = f"{error.message} {json.dumps(error.body, default=str)}"
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


def _redacted(error: openai.APIStatusError, key: str | None) -> openai.APIStatusError:
    """The same error without the key, which some servers repeat in full."""
    if key:
        error.message = error.message.replace(key, "***")
        error.body = json.loads(json.dumps(error.body, default=str).replace(key, "***"))
    return error


async def _chunks(stream: AsyncStream[object]) -> AsyncIterator[Chunk]:
    if "application/json" in stream.response.headers.get("content-type", ""):
        # A server that cannot stream answers in one piece.
        yield whole_as_chunk(json.loads(await stream.response.aread()))
        return
    async for chunk in stream:
        if isinstance(chunk, Mapping):
            yield cast("Chunk", chunk)
