"""What the plug-in accepts before anything is sent."""

from pathlib import Path

import pytest
import yaml

from toolorchestra.core.errors import InvalidArgumentsError, InvalidManifestError, UnavailableError
from toolorchestra.core.money import parse_usd
from toolorchestra.core.plugins import PluginContext
from toolorchestra.core.resources import Tool, parse_resource
from toolorchestra.tools.web_search.tool import create

CONTEXT = PluginContext(call_id="c", tenant="t", timeout_ms=5_000, idempotency_key="k", secrets={"apiKey": "tvly-key"})


async def test_without_a_key_it_is_not_ready_and_says_how_to_get_ready() -> None:
    for secrets in ({}, {"apiKey": ""}, {"other": "x"}):
        readiness = await create({}).check(secrets)
        assert (readiness.ready, readiness.reason) == (False, "SecretMissing")
        assert "TAVILY_API_KEY" in readiness.message
        assert "Secret `tavily`" in readiness.message


async def test_with_a_key_it_is_ready() -> None:
    assert (await create({}).check({"apiKey": "tvly-key"})).ready


async def test_a_call_without_a_key_is_refused_before_anything_is_sent() -> None:
    context = PluginContext(call_id="c", tenant="t", timeout_ms=5_000, idempotency_key="k")
    with pytest.raises(UnavailableError, match="TAVILY_API_KEY"):
        await create({}).run({"query": "x"}, context)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"base_url": "http://127.0.0.1:9"}, "must begin with https://"),
        ({"base_url": "ftp://host", "allow_http": True}, "must begin with https://"),
        ({"base_url": "https://"}, "plain address"),
        ({"base_url": "https://user:pass@host"}, "plain address"),
        ({"base_url": "https://host/?key=1"}, "plain address"),
        ({"url": "https://host"}, "unknown field"),
    ],
)
def test_unsafe_or_unknown_settings_are_refused(config: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidManifestError, match=says):
        create(config)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "query"),
        ({"query": " "}, "query"),
        ({"query": "x", "max_results": 0}, "max_results"),
        ({"query": "x", "max_results": 1.5}, "max_results"),
    ],
)
async def test_wrong_arguments_are_refused(arguments: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidArgumentsError, match=says):
        await create({}).run(arguments, CONTEXT)


def test_the_manifest_is_valid_and_names_price_and_secret() -> None:
    path = Path(__file__).parents[4] / "tools/web_search/tool.yaml"
    tool = parse_resource(yaml.safe_load(path.read_text()), source=path.name)
    assert isinstance(tool, Tool)
    assert tool.spec.capabilities == ["web-search"]
    assert parse_usd(tool.spec.pricing.per_call) == 8_000_000
    assert tool.spec.plugin is not None
    assert tool.spec.plugin.secrets["apiKey"].model_dump() == {"name": "tavily", "key": "api-key"}
