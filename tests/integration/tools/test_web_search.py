"""The web search against a real HTTP server on loopback that speaks Tavily's protocol, well or badly."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import pytest

from toolorchestra.core.errors import (
    InvalidArgumentsError,
    RateLimitedError,
    ToolOrchestraError,
    UpstreamError,
    UpstreamTimeoutError,
)
from toolorchestra.core.plugins import PluginContext
from toolorchestra.tools.web_search.tavily import MAX_RESPONSE_BYTES, RefusedError
from toolorchestra.tools.web_search.tool import WebSearch, create

KEY = "tvly-canary-key"
RESULT = {"title": "PostgreSQL", "url": "https://www.postgresql.org/", "content": "The latest release is 18.", "score": 0.91234}


@dataclass
class Peer:
    """A server that gives one prepared answer and remembers what it was asked."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False
    url: str = ""
    asked: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    released: Event = field(default_factory=Event)


@pytest.fixture
def peer() -> Iterator[Peer]:
    state = Peer(body=json.dumps({"query": "q", "results": [RESULT], "response_time": 0.5}).encode())

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            state.asked.append((self.path, {k.lower(): v for k, v in self.headers.items()}, json.loads(body)))
            if state.hang:
                state.released.wait(5)
                return
            self.send_response(state.status)
            for name, value in ({"content-length": str(len(state.body))} | state.headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(state.body)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}"
    yield state
    state.released.set()
    server.shutdown()
    server.server_close()
    thread.join()


def tool(peer: Peer) -> WebSearch:
    return create({"base_url": peer.url, "allow_http": True})


async def ask(peer: Peer, *, timeout_ms: int = 5_000, **arguments: Any) -> Any:
    context = PluginContext(call_id="c", tenant="t", timeout_ms=timeout_ms, idempotency_key="k", secrets={"apiKey": KEY})
    return (await tool(peer).run({"query": "latest release of PostgreSQL", **arguments}, context)).content


async def failure(peer: Peer, *, timeout_ms: int = 5_000) -> ToolOrchestraError:
    with pytest.raises(ToolOrchestraError) as caught:
        await ask(peer, timeout_ms=timeout_ms)
    assert KEY not in str(caught.value)
    return caught.value


async def test_pages_come_back_in_few_fields(peer: Peer) -> None:
    assert await ask(peer) == [
        {"title": "PostgreSQL", "url": "https://www.postgresql.org/", "text": "The latest release is 18.", "score": 0.9123}
    ]


async def test_the_key_is_sent_in_the_header_only_and_the_search_is_the_basic_one_that_is_priced(peer: Peer) -> None:
    await ask(peer, max_results=3)
    ((path, headers, body),) = peer.asked
    assert path == "/search"
    assert headers["authorization"] == f"Bearer {KEY}"
    assert body == {"query": "latest release of PostgreSQL", "max_results": 3, "search_depth": "basic"}


async def test_no_page_is_an_empty_list(peer: Peer) -> None:
    peer.body = b'{"results": []}'
    assert await ask(peer) == []


async def test_long_texts_and_surplus_pages_are_cut(peer: Peer) -> None:
    peer.body = json.dumps({"results": [RESULT | {"content": "x" * 50_000, "title": "t" * 5_000}] * 20}).encode()
    found = await ask(peer, max_results=2)
    assert len(found) == 2
    assert (len(found[0]["text"]), len(found[0]["title"])) == (2_000, 300)


async def test_missing_fields_of_a_page_are_forgiven(peer: Peer) -> None:
    peer.body = json.dumps({"results": [{"url": "https://a.example/", "content": None, "title": None}]}).encode()
    assert await ask(peer) == [{"title": "", "url": "https://a.example/", "text": "", "score": 0.0}]


@pytest.mark.parametrize(
    ("status", "body", "kind", "retryable", "says"),
    [
        (400, {"detail": {"error": "Query is too long."}}, InvalidArgumentsError, False, "Query is too long."),
        (422, {"detail": "no"}, InvalidArgumentsError, False, "no"),
        (401, {"detail": {"error": "Unauthorized: missing or invalid API key."}}, RefusedError, False, "TAVILY_API_KEY"),
        (403, {}, RefusedError, False, "API key"),
        (429, {"detail": {"error": "Too many requests"}}, RateLimitedError, True, "wait 7 s: Too many requests"),
        (432, {"detail": {"error": "plan limit"}}, RefusedError, False, "plan limit"),
        (433, {}, RefusedError, False, "used up its plan"),
        (404, {}, RefusedError, False, "status 404"),
        (500, {"detail": {"error": "boom"}}, UpstreamError, True, "status 500: boom"),
        (503, "<html>", UpstreamError, True, "status 503"),
    ],
)
async def test_refusals_are_told_apart(
    peer: Peer, status: int, body: object, kind: type[ToolOrchestraError], retryable: bool, says: str
) -> None:
    peer.status, peer.body, peer.headers = status, json.dumps(body).encode(), {"retry-after": "7"}
    error = await failure(peer)
    assert type(error) is kind
    assert error.retryable is retryable
    assert says in str(error)


@pytest.mark.parametrize(
    "body", [b"", b"not json", b"[]", b"{}", b'{"results": 5}', b'{"results": [5]}', b'{"results": [{}]}', b"\xff\xfe"]
)
async def test_nonsense_is_an_upstream_error(peer: Peer, body: bytes) -> None:
    peer.body = body
    assert type(await failure(peer)) is UpstreamError


async def test_a_hanging_server_is_given_up_before_the_callers_deadline(peer: Peer) -> None:
    peer.hang = True
    error = await failure(peer, timeout_ms=600)
    assert isinstance(error, UpstreamTimeoutError)
    assert "within 0.4 s" in str(error)


async def test_a_redirect_is_not_followed(peer: Peer) -> None:
    peer.status, peer.headers = 302, {"location": f"{peer.url}/elsewhere"}
    assert "status 302" in str(await failure(peer))
    assert len(peer.asked) == 1


async def test_an_answer_that_is_too_large_is_not_read_to_its_end(peer: Peer) -> None:
    peer.body = b" " * (MAX_RESPONSE_BYTES + 10)
    assert "more than" in str(await failure(peer))


async def test_nobody_at_the_address_is_an_upstream_error(peer: Peer) -> None:
    context = PluginContext(call_id="c", tenant="t", timeout_ms=2_000, idempotency_key="k", secrets={"apiKey": KEY})
    nobody = create({"base_url": "http://127.0.0.1:1", "allow_http": True})
    with pytest.raises(UpstreamError, match="cannot be reached"):
        await nobody.run({"query": "x"}, context)


async def test_proxy_variables_are_ignored(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert len(await ask(peer)) == 1
