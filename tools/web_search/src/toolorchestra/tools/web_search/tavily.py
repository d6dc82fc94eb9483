"""The Tavily search API: one request, and every way in which it can fail."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx

from toolorchestra.core.errors import (
    InvalidArgumentsError,
    RateLimitedError,
    ToolOrchestraError,
    UpstreamError,
    UpstreamTimeoutError,
)

BASE_URL: Final = "https://api.tavily.com"
MAX_RESPONSE_BYTES: Final = 2 << 20
_MAX_DETAIL: Final = 300
_BAD_REQUEST, _UNPROCESSABLE, _UNAUTHORIZED, _FORBIDDEN, _TOO_MANY = 400, 422, 401, 403, 429
_PLAN_LIMIT, _PAY_LIMIT, _SERVER_ERROR, _REDIRECT = 432, 433, 500, 300


class RefusedError(UpstreamError):
    """The service refuses the key or the account; asking again changes nothing."""

    code = "upstream_refused"
    retryable = False


@dataclass(frozen=True, slots=True)
class WebResult:
    """One page: ``score`` is the service's own estimate of how well it fits, 0 to 1."""

    title: str
    url: str
    text: str
    score: float


class TavilyClient:
    """Asks one Tavily-compatible server. ``new_client`` opens a connection per request: a key never outlives its call."""

    def __init__(self, base_url: str, new_client: Callable[[], httpx.AsyncClient]) -> None:
        self._url = f"{base_url.rstrip('/')}/search"
        self._new_client = new_client

    async def search(self, query: str, *, max_results: int, key: str, timeout_s: float) -> list[WebResult]:
        """The best pages, best first.

        Raises InvalidArgumentsError, RateLimitedError, RefusedError, UpstreamError or UpstreamTimeoutError.
        """
        body = {"query": query, "max_results": max_results, "search_depth": "basic"}
        try:
            async with self._new_client() as client:
                status, headers, content = await self._post(client, body, key, timeout_s)
        except httpx.TimeoutException as error:
            raise UpstreamTimeoutError(f"the search service did not answer within {timeout_s:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UpstreamError(f"the search service cannot be reached: {type(error).__name__}") from error
        if status >= _REDIRECT:
            raise _refusal(status, headers, content)
        return _results(content)

    async def _post(
        self, client: httpx.AsyncClient, body: dict[str, Any], key: str, timeout_s: float
    ) -> tuple[int, Mapping[str, str], bytes]:
        # Without compression the bound on what is read is a bound on what is kept.
        headers = {"Authorization": f"Bearer {key}", "Accept-Encoding": "identity"}
        request = client.build_request("POST", self._url, json=body, headers=headers, timeout=timeout_s)
        response = await client.send(request, stream=True)
        try:
            content = b""
            async for part in response.aiter_raw():
                content += part
                if len(content) > MAX_RESPONSE_BYTES:
                    raise UpstreamError(f"the search service sent more than {MAX_RESPONSE_BYTES} bytes")
            return response.status_code, response.headers, content
        finally:
            await response.aclose()


def _refusal(status: int, headers: Mapping[str, str], content: bytes) -> ToolOrchestraError:
    detail = _detail(content)
    if status in (_BAD_REQUEST, _UNPROCESSABLE):
        return InvalidArgumentsError(f"the search service does not accept the request{detail}", param="query")
    if status in (_UNAUTHORIZED, _FORBIDDEN):
        return RefusedError("the search service does not accept the API key", hint="correct TAVILY_API_KEY or the Secret")
    if status == _TOO_MANY:
        wait = headers.get("retry-after")
        return RateLimitedError(f"the search service asks to wait{f' {wait} s' if wait else ''}{detail}")
    if status in (_PLAN_LIMIT, _PAY_LIMIT):
        return RefusedError(f"the search account has used up its plan{detail}", hint="raise the plan's limit at Tavily")
    if status >= _SERVER_ERROR:
        return UpstreamError(f"the search service failed with status {status}{detail}")
    return RefusedError(f"the search service answered with status {status}{detail}")


def _detail(content: bytes) -> str:
    """What the service says itself, shortened; empty if it says nothing readable."""
    try:
        value = json.loads(content)
    except ValueError:
        return ""
    for name in ("detail", "error", "message"):
        value = value.get(name, value) if isinstance(value, dict) else value
    return f": {value[:_MAX_DETAIL]}" if isinstance(value, str) and value else ""


def _results(content: bytes) -> list[WebResult]:
    try:
        rows = json.loads(content)["results"]
        return [_result(row) for row in rows]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UpstreamError("the search service sent something that is no list of results") from error


def _result(row: Mapping[str, Any]) -> WebResult:
    text = row.get("content") or ""
    return WebResult(str(row.get("title") or ""), str(row["url"]), str(text), float(row.get("score") or 0))
