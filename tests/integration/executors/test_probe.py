import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.executors.making import make_expert, make_tool
from toolorchestra.core.registry import Catalog
from toolorchestra.executors.factory import Toolbox, open_toolbox
from toolorchestra.executors.mcp import McpDiscovery
from toolorchestra.executors.mcp_sessions import McpSessions
from toolorchestra.executors.openapi import OpenApiDiscovery
from toolorchestra.executors.plugin import Plugins
from toolorchestra.executors.probe import Prober, base_urls
from toolorchestra.executors.testing import CountingProvider, ProviderConfig
from toolorchestra.kit.egress import EgressGuard
from toolorchestra.kit.secrets import EnvironmentSecrets

NEEDS_SECRET = [{"name": "X-Key", "secretKeyRef": {"name": "absent", "key": "key"}}]


@pytest.fixture
def dead_url() -> Iterator[str]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


async def test_an_http_tool_is_ready_when_its_server_takes_connections(toolbox: Toolbox, http_peer: str) -> None:
    seen = await toolbox.prober.probe_tool(make_tool(http={"url": f"{http_peer}/anything", "method": "DELETE"}))
    assert (seen.ready, seen.reason) == (True, "Ready")


@pytest.mark.parametrize(
    ("backend", "reason", "said"),
    [
        ({"http": {"url": "http://127.0.0.1:9/"}}, "Unreachable", "127.0.0.1:9 cannot be reached"),
        ({"http": {"url": "http://10.0.0.1/"}}, "EgressDenied", "egress.allow"),
        ({"http": {"url": "http://127.0.0.1:9/{city}"}}, "InvalidSpec", "'city'"),
        ({"http": {"url": "http://127.0.0.1:9/", "headers": NEEDS_SECRET}}, "SecretMissing", "ABSENT_KEY"),
        ({"http": {"url": "http://host:port/"}}, "InvalidSpec", "not a URL"),
        ({"openapi": {"url": "http://127.0.0.1:9/", "headers": NEEDS_SECRET}}, "SecretMissing", "ABSENT_KEY"),
        ({"openapi": {"url": "http://10.0.0.1/"}}, "EgressDenied", "egress.allow"),
        ({"openapi": {"url": "http://127.0.0.1:9/"}}, "Unreachable", "could not be read"),
        ({"mcp": {"url": "http://127.0.0.1:9/", "headers": NEEDS_SECRET}}, "SecretMissing", "ABSENT_KEY"),
        ({"mcp": {"url": "http://10.0.0.1/"}}, "EgressDenied", "egress.allow"),
        ({"mcp": {"url": "http://127.0.0.1:9/"}}, "Unreachable", "cannot be reached"),
        ({"plugin": {"name": "nope"}}, "InvalidSpec", "not installed"),
    ],
)
async def test_what_keeps_a_tool_from_being_ready_is_said(
    toolbox: Toolbox, backend: dict[str, Any], reason: str, said: str
) -> None:
    seen = await toolbox.prober.probe_tool(make_tool(**backend))
    assert (seen.ready, seen.reason) == (False, reason)
    assert said in seen.message


async def test_a_host_that_is_an_argument_cannot_be_probed_and_is_no_fault(toolbox: Toolbox) -> None:
    parameters = {"type": "object", "properties": {"host": {"type": "string"}}}
    assert (await toolbox.prober.probe_tool(make_tool(http={"url": "https://{host}/x"}, parameters=parameters))).ready


async def test_an_installed_plugin_checks_itself(toolbox: Toolbox) -> None:
    seen = await toolbox.prober.probe_tool(make_tool(plugin={"name": "calculator"}))
    assert (seen.ready, seen.reason) == (True, "Ready")


@pytest.mark.parametrize("path", ["/v1", "/openai/v1", "/custom/api"])
async def test_a_model_is_found_below_its_base_path(toolbox: Toolbox, path: str) -> None:
    with CountingProvider(ProviderConfig(base_path=path)) as provider:
        seen = await toolbox.prober.probe_expert(make_expert(provider.url))
        assert (seen.ready, seen.base_url) == (True, provider.url)
        assert seen.details["modelListed"] is True
        if path != "/custom/api":
            for written in (provider.origin, f"{provider.origin}/v1", f"{provider.origin}/"):
                assert (await toolbox.prober.probe_expert(make_expert(written))).base_url == provider.url


async def test_a_model_that_the_server_does_not_list_is_told(toolbox: Toolbox, provider: CountingProvider) -> None:
    seen = await toolbox.prober.probe_expert(make_expert(provider.url, model="gpt-9"))
    assert (seen.ready, seen.details["modelListed"]) == (True, False)
    assert "the server lists other models than 'gpt-9': counting" in seen.message


async def test_a_served_model_is_let_through_for_its_own_probe_only(provider: CountingProvider) -> None:
    expert, entry = make_expert("http://unused/v1"), provider.origin.removeprefix("http://")
    async with open_toolbox(EgressGuard(), EnvironmentSecrets({})) as toolbox:
        denied = await toolbox.prober.probe_expert(expert, base_url=provider.origin)
        seen = await toolbox.prober.probe_expert(expert, base_url=provider.origin, allow=[entry])
    assert (denied.reason, seen.reason, seen.base_url) == ("EgressDenied", "Ready", provider.url)


async def test_a_models_key_is_needed_and_checked() -> None:
    key = {"apiKeySecretRef": {"name": "model", "key": "api-key"}}
    with CountingProvider(ProviderConfig(api_key="sk-right")) as provider:
        expert = make_expert(provider.url, endpoint={"baseUrl": provider.url, **key})
        for environ, reason in (({}, "SecretMissing"), ({"MODEL_API_KEY": "no"}, "Unauthorized"), ({"MODEL_API_KEY": "sk-right"}, "Ready")):  # fmt: skip
            async with open_toolbox(EgressGuard(["127.0.0.1"]), EnvironmentSecrets(environ)) as toolbox:
                seen = await toolbox.prober.probe_expert(expert)
            assert (seen.reason, seen.ready) == (reason, reason == "Ready")


async def test_a_model_that_is_not_served_is_told(toolbox: Toolbox, http_peer: str) -> None:
    built = make_expert("http://unused/v1", endpoint=None, kserve={"storageUri": "hf://org/model"})
    assert (await toolbox.prober.probe_expert(built)).reason == "NotServed"
    seen = await toolbox.prober.probe_expert(make_expert(f"{http_peer}/nowhere"))
    assert (seen.ready, seen.reason) == (False, "NotServed")
    assert "HTTP 404" in seen.message
    assert (await toolbox.prober.probe_expert(make_expert("http://127.0.0.1:9/v1"))).reason == "Unreachable"
    assert (await toolbox.prober.probe_expert(make_expert("http://10.0.0.1/v1"))).reason == "EgressDenied"


async def test_where_a_built_model_is_served_is_probed(toolbox: Toolbox, provider: CountingProvider) -> None:
    built = make_expert("http://unused/v1", endpoint=None, kserve={"storageUri": "hf://org/model"})
    assert (await toolbox.prober.probe_expert(built, base_url=provider.origin)).base_url == provider.url


async def test_one_dead_server_delays_nobody(http_peer: str, mcp_peer: str, provider: CountingProvider, dead_url: str) -> None:
    guard, secrets = EgressGuard(["127.0.0.1"]), EnvironmentSecrets({})
    sessions = McpSessions(guard, secrets)
    prober = Prober(
        guard, secrets, openapi=OpenApiDiscovery(guard, secrets), mcp=McpDiscovery(sessions), plugins=Plugins(secrets), deadline_s=2
    )  # fmt: skip
    tools = {
        ("default", f"dead{n}"): make_tool(f"dead{n}", **backend)
        for n, backend in enumerate([{"mcp": {"url": dead_url}}, {"openapi": {"url": dead_url}}] * 10)
    }
    tools["default", "mcp"] = make_tool("mcp", mcp={"url": mcp_peer})
    tools["default", "http"] = make_tool("http", http={"url": http_peer})
    experts = {("default", "dead"): make_expert(f"{dead_url}/v1"), ("default", "sage"): make_expert(provider.url)}
    began = time.monotonic()
    seen = await prober.probe_all(Catalog(tools=tools, experts=experts))
    assert time.monotonic() - began < 4
    assert {key[2] for key, observation in seen.items() if observation.ready} == {"mcp", "http", "sage"}
    assert {observation.reason for observation in seen.values() if not observation.ready} == {"Timeout"}
    await sessions.aclose()


def test_base_urls_start_with_what_was_written() -> None:
    assert base_urls("http://h/v1/") == ("http://h/v1", "http://h/openai/v1")
    assert base_urls("http://h") == ("http://h", "http://h/v1", "http://h/openai/v1")
    assert base_urls("http://h/openai/v1") == ("http://h/openai/v1", "http://h/v1")
