import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.executors.making import make_tool, tool_call
from toolorchestra.core.calls import Outcome, Status
from toolorchestra.core.sessions import session_headers
from toolorchestra.executors.factory import Toolbox
from toolorchestra.kit.egress import EgressGuard

TRACE = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
TEXTS = {"type": "object", "properties": {"q": {"type": "string"}, "n": {"type": "integer"}}}


async def run(toolbox: Toolbox, url: str, arguments: dict[str, Any] | None = None, **spec: Any) -> Outcome:
    backend = {"url": url, **spec.pop("http", {})}
    timeout_ms = spec.pop("timeout_ms", 5_000)
    tool = make_tool(http=backend, **{"parameters": TEXTS, **spec})
    return await toolbox.executors.execute(tool_call(tool, arguments, timeout_ms=timeout_ms, headers=TRACE))


async def test_a_get_carries_arguments_headers_secrets_and_trace(toolbox: Toolbox, http_peer: str) -> None:
    headers = [
        {"name": "X-Key", "secretKeyRef": {"name": "peer", "key": "key"}, "prefix": "Bearer "},
        {"name": "X-Query", "value": "{q}"},
    ]
    outcome = await run(toolbox, f"{http_peer}/echo/{{q}}", {"q": "a b/ü", "n": 3}, http={"headers": headers})
    assert (outcome.status, outcome.sent, outcome.cost_nano_usd) == (Status.ERROR, False, 0), "ü is no header value"
    outcome = await run(toolbox, f"{http_peer}/echo/{{q}}", {"q": "a b/c", "n": 3}, http={"headers": headers})
    seen = json.loads(outcome.content)
    assert (outcome.status, outcome.cost_nano_usd) == (Status.OK, 1_000)
    assert seen["rawPath"] == "/echo/a%20b%2Fc"
    assert seen["query"] == [["n", "3"]]
    assert seen["headers"]["x-key"] == "Bearer s3cret"
    assert seen["headers"]["x-query"] == "a b/c"
    assert seen["headers"]["traceparent"] == TRACE["traceparent"]
    assert "idempotency-key" not in seen["headers"], "reading needs no key"


async def test_baggage_is_passed_on(toolbox: Toolbox, http_peer: str) -> None:
    tool = make_tool(http={"url": f"{http_peer}/echo"}, parameters=TEXTS)
    call = tool_call(tool, session="library:1:a+b", headers=TRACE | session_headers("library:1:a+b"))
    seen = json.loads((await toolbox.executors.execute(call)).content)["headers"]
    assert seen["baggage"] == "toolorchestra.session=library:1:a%2Bb"
    assert "baggage" not in json.loads((await run(toolbox, f"{http_peer}/echo")).content)["headers"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
async def test_a_write_carries_json_and_its_idempotency_key(toolbox: Toolbox, http_peer: str, method: str) -> None:
    outcome = await run(toolbox, f"{http_peer}/echo", {"q": "x", "n": 3}, http={"method": method}, sideEffects="idempotent")
    seen = json.loads(outcome.content)
    assert json.loads(seen["body"]) == {"q": "x", "n": 3}
    assert seen["headers"]["content-type"] == "application/json"
    assert seen["headers"]["idempotency-key"] == "run-1/1/1"


async def test_ten_megabytes_are_cut_and_the_rest_is_never_read(
    toolbox: Toolbox, http_peer: str, stats: Callable[[], dict[str, int]]
) -> None:
    before = stats().get("bytes", 0)
    outcome = await run(toolbox, f"{http_peer}/big", maxResultBytes=1_000)
    assert (outcome.status, outcome.truncated, len(outcome.content)) == (Status.OK, True, 1_000)
    await asyncio.sleep(0.1)
    assert stats()["bytes"] - before < 8 * 1024 * 1024, "the server was stopped long before its end"


@pytest.mark.parametrize(("path", "said"), [("binary", "binary"), ("image", "image/png"), ("gzip", "compressed")])
async def test_what_is_no_text_is_a_clear_error(toolbox: Toolbox, http_peer: str, path: str, said: str) -> None:
    outcome = await run(toolbox, f"{http_peer}/{path}")
    assert (outcome.status, outcome.sent) == (Status.ERROR, True)
    assert said in outcome.content


@pytest.mark.parametrize("path", ["hang", "drip"])
async def test_a_server_that_never_ends_is_a_timeout(toolbox: Toolbox, http_peer: str, path: str) -> None:
    began = time.monotonic()
    outcome = await run(toolbox, f"{http_peer}/{path}", timeout_ms=200, sideEffects="destructive")
    assert (outcome.status, outcome.sent, outcome.error_code) == (Status.TIMEOUT, True, "upstream_timeout")
    assert "may have had its effect" in outcome.content
    assert time.monotonic() - began < 1.5


async def test_cancelling_a_call_closes_its_connection(
    toolbox: Toolbox, http_peer: str, stats: Callable[[], dict[str, int]]
) -> None:
    before = stats()
    task = asyncio.create_task(run(toolbox, f"{http_peer}/hang"))
    while stats().get("hanging", 0) == before.get("hanging", 0):
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(2):
        while stats().get("left", 0) == before.get("left", 0):
            await asyncio.sleep(0.01)


async def test_an_error_status_is_told_and_paid(toolbox: Toolbox, http_peer: str) -> None:
    outcome = await run(toolbox, f"{http_peer}/status/418")
    assert (outcome.status, outcome.error_code, outcome.cost_nano_usd) == (Status.ERROR, "http_418", 1_000)
    assert "as asked" in outcome.content
    assert outcome.details["httpStatus"] == 418


async def test_a_connection_that_breaks_midway_is_an_error(toolbox: Toolbox, http_peer: str) -> None:
    outcome = await run(toolbox, f"{http_peer}/broken")
    assert (outcome.status, outcome.sent) == (Status.ERROR, True)
    assert "broke the connection" in outcome.content


async def test_a_closed_port_was_never_sent_to_and_costs_nothing(toolbox: Toolbox) -> None:
    outcome = await run(toolbox, "http://127.0.0.1:9/", sideEffects="destructive", retries=2)
    assert (outcome.status, outcome.sent, outcome.cost_nano_usd) == (Status.ERROR, False, 0)
    assert "cannot be reached" in outcome.content
    assert outcome.details["attempts"] == 1


async def test_a_flaky_server_is_asked_again(toolbox: Toolbox, http_peer: str) -> None:
    outcome = await run(toolbox, f"{http_peer}/flaky/2?key=again", retries=3)
    assert (outcome.status, outcome.content, outcome.details["attempts"]) == (Status.OK, "after 3", 3)


async def test_a_destructive_tool_is_never_repeated(
    toolbox: Toolbox, http_peer: str, stats: Callable[[], dict[str, int]]
) -> None:
    outcome = await run(toolbox, f"{http_peer}/flaky/1?key=once", retries=5, sideEffects="destructive")
    assert (outcome.status, outcome.details["attempts"]) == (Status.ERROR, 1)
    assert stats()["once"] == 1


async def test_an_error_of_the_caller_is_not_repeated(toolbox: Toolbox, http_peer: str) -> None:
    assert (await run(toolbox, f"{http_peer}/status/404", retries=5)).details["attempts"] == 1


async def test_a_pause_that_the_server_asks_for_is_kept_and_never_outlasts_the_deadline(
    toolbox: Toolbox, http_peer: str
) -> None:
    began = time.monotonic()
    outcome = await run(toolbox, f"{http_peer}/status/429?after=60", retries=5, timeout_ms=2_000)
    assert (outcome.error_code, outcome.details["attempts"]) == ("http_429", 1)
    assert time.monotonic() - began < 1
    outcome = await run(toolbox, f"{http_peer}/status/503?after=1", retries=1, timeout_ms=3_000)
    assert outcome.details["attempts"] == 2
    assert time.monotonic() - began > 1


async def test_a_result_path_picks_a_part(toolbox: Toolbox, http_peer: str) -> None:
    picked = await run(toolbox, f"{http_peer}/nested", http={"result": "data.items.1.name"})
    assert picked.content == "zweites ü"
    missing = await run(toolbox, f"{http_peer}/nested", http={"result": "data.rows"})
    assert (missing.status, missing.sent) == (Status.ERROR, True)
    assert "'rows' not found among items" in missing.content
    cut = await run(toolbox, f"{http_peer}/big", http={"result": "a"}, maxResultBytes=1_000)
    assert "raise spec.maxResultBytes" in cut.content


async def test_a_redirect_is_not_followed(toolbox: Toolbox, http_peer: str, stats: Callable[[], dict[str, int]]) -> None:
    before = stats().get("echo", 0)
    outcome = await run(toolbox, f"{http_peer}/redirect?to={http_peer}/echo")
    assert (outcome.status, outcome.error_code) == (Status.ERROR, "http_307")
    assert stats().get("echo", 0) == before


async def test_an_address_that_is_not_allowed_is_denied_and_says_how_to_open_it(toolbox: Toolbox) -> None:
    outcome = await run(toolbox, "http://169.254.169.254/latest/meta-data")
    assert (outcome.status, outcome.sent, outcome.cost_nano_usd) == (Status.DENIED, False, 0)
    outcome = await run(toolbox, "http://[::1]:8080/")
    assert outcome.status is Status.DENIED
    assert 'add "[::1]:8080" to egress.allow' in outcome.content


async def test_a_missing_secret_stops_the_call(toolbox: Toolbox, http_peer: str) -> None:
    headers = [{"name": "X-Key", "secretKeyRef": {"name": "other", "key": "key"}}]
    outcome = await run(toolbox, f"{http_peer}/echo", http={"headers": headers})
    assert (outcome.status, outcome.sent, outcome.error_code) == (Status.ERROR, False, "not_found")
    assert "OTHER_KEY" in outcome.content


async def test_a_url_that_is_none_is_an_error_of_the_manifest(toolbox: Toolbox) -> None:
    outcome = await run(toolbox, "http://host:port/")
    assert (outcome.status, outcome.sent, outcome.error_code) == (Status.ERROR, False, "invalid_manifest")


async def test_many_calls_at_once_share_the_client(toolbox: Toolbox, http_peer: str) -> None:
    outcomes = await asyncio.gather(*(run(toolbox, f"{http_peer}/echo", {"n": n}, concurrency=64) for n in range(100)))
    assert [json.loads(outcome.content)["query"] for outcome in outcomes] == [[["n", str(n)]] for n in range(100)]


async def test_without_an_opening_loopback_is_denied(http_peer: str) -> None:
    with pytest.raises(Exception, match="loopback"):
        await EgressGuard().check(http_peer)
