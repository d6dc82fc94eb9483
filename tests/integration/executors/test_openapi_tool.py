import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from tests.integration.executors.making import make_tool, tool_call
from toolorchestra.core.calls import Status
from toolorchestra.executors.factory import Toolbox


@pytest.mark.parametrize("name", ["openapi.json", "openapi.yaml"])
async def test_a_document_becomes_operations_that_can_be_called(toolbox: Toolbox, http_peer: str, name: str) -> None:
    tool = make_tool("items", openapi={"url": f"{http_peer}/{name}", "operations": ["getItem", "addItem"]})
    seen = await toolbox.prober.probe_tool(tool)
    assert (seen.ready, seen.reason, seen.message) == (True, "Ready", "")
    found = {operation.name: operation for operation in seen.operations}
    outcome = await toolbox.executors.execute(tool_call(tool, {"id": 7}, operation=found["getItem"]))
    assert json.loads(outcome.content)["path"] == "/echo/items/7"
    outcome = await toolbox.executors.execute(tool_call(tool, {"name": "ü", "size": 2}, operation=found["addItem"]))
    assert json.loads(json.loads(outcome.content)["body"]) == {"name": "ü", "size": 2}
    assert json.loads(outcome.content)["method"] == "POST"


async def test_five_hundred_read_only_operations_are_found(toolbox: Toolbox, http_peer: str) -> None:
    seen = await toolbox.prober.probe_tool(make_tool("items", openapi={"url": f"{http_peer}/openapi.json"}))
    assert len(seen.operations) == 501
    assert "addItem" not in {operation.name for operation in seen.operations}


async def test_an_inline_document_needs_no_server_but_its_own(toolbox: Toolbox, http_peer: str) -> None:
    document: dict[str, Any] = httpx2.get(f"{http_peer}/openapi.json").json()
    tool = make_tool(openapi={"document": document, "baseUrl": f"{http_peer}/echo/base", "operations": ["getItem"]})
    (operation,) = (await toolbox.prober.probe_tool(tool)).operations
    outcome = await toolbox.executors.execute(tool_call(tool, {"id": 1}, operation=operation))
    assert json.loads(outcome.content)["path"] == "/echo/base/items/1"


async def test_the_key_goes_to_the_apis_own_server_only(
    toolbox: Toolbox, http_peer: str, stats: Callable[[], dict[str, int]]
) -> None:
    headers = [{"name": "X-Key", "secretKeyRef": {"name": "peer", "key": "key"}}]
    own = make_tool(openapi={"url": f"{http_peer}/openapi.json", "baseUrl": f"{http_peer}/echo", "headers": headers})
    assert (await toolbox.prober.probe_tool(own)).ready
    assert stats()["documentKey:s3cret"] == 1
    other = make_tool(openapi={"url": f"{http_peer}/openapi.json", "baseUrl": "http://127.0.0.1:9/", "headers": headers})
    operations = {operation.name: operation for operation in (await toolbox.prober.probe_tool(other)).operations}
    assert stats()["documentKey:s3cret"] == 1
    outcome = await toolbox.executors.execute(tool_call(own, {"id": 1}, operation=operations["getItem"]))
    assert outcome.sent is False


@pytest.mark.parametrize(
    ("path", "reason", "said"),
    [
        ("status/404", "Unreachable", "HTTP 404"),
        ("nested", "InvalidSpec", "not an OpenAPI 3"),
        ("big", "InvalidSpec", "longer than"),
        ("binary", "Unreachable", "binary"),
    ],
)
async def test_what_is_no_document_is_said_plainly(toolbox: Toolbox, http_peer: str, path: str, reason: str, said: str) -> None:
    seen = await toolbox.prober.probe_tool(make_tool(openapi={"url": f"{http_peer}/{path}"}))
    assert (seen.ready, seen.reason) == (False, reason)
    assert said in seen.message


async def test_an_operation_that_is_not_there_is_named_and_the_others_stay(toolbox: Toolbox, http_peer: str) -> None:
    tool = make_tool(openapi={"url": f"{http_peer}/openapi.json", "operations": ["getItem", "nope"]})
    seen = await toolbox.prober.probe_tool(tool)
    assert seen.ready
    assert "no operation 'nope'" in seen.message


async def test_a_tool_that_was_never_discovered_says_so(toolbox: Toolbox, http_peer: str) -> None:
    outcome = await toolbox.executors.execute(tool_call(make_tool(openapi={"url": f"{http_peer}/openapi.json"})))
    assert (outcome.status, outcome.sent) == (Status.ERROR, False)
    assert "never discovered" in outcome.content
