"""A platform whose expert is a real vLLM, shared by all tests here; a scripted manager where a test needs certain calls."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.platform import Platform, PlatformFactory, expert, manager, manifest, wait_until
from tests.support.vllm import MODEL, Vllm
from toolorchestra.core.pricing import Price
from toolorchestra.executors.testing import CountingProvider

PRICE = Price(input=150_000_000, output=600_000_000, cached=30_000_000)
PRICING = {"input": "0.15", "output": "0.60", "cachedInput": "0.03"}
CONTEXT_TOKENS = 2048
# The model is not allowed to stop, so that the length of an answer is its limit.
ENDLESS: dict[str, Any] = {"logit_bias": {"2": -100}}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The time of a test is its own: setting vLLM up takes what it takes."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(120, func_only=True))


def served(name: str, vllm: Vllm, model: str = MODEL, **spec: object) -> dict[str, object]:
    """An ExpertModel on vLLM; its base URL says nothing of ``/v1``."""
    body = {
        "description": "A very small model.",
        "model": model,
        "endpoint": {"baseUrl": vllm.url},
        "pricing": PRICING,
        "contextTokens": CONTEXT_TOKENS,
        "maxOutputTokens": 1500,
        "timeout": "100s",
        **spec,
    }
    return manifest("ExpertModel", name, body)


@pytest.fixture(scope="session")
def provider() -> Iterator[CountingProvider]:
    """The model of the scripted manager."""
    with CountingProvider() as running:
        yield running


@pytest.fixture(scope="session")
def platform(new_platform: PlatformFactory, vllm: Vllm, provider: CountingProvider) -> Iterator[Platform]:
    with new_platform(vllm, provider) as made:
        made.apply(
            served("tiny", vllm),
            served("brief", vllm, maxOutputTokens=48),
            served("misnamed", vllm, model="another"),
            served("optimistic", vllm, contextTokens=8192),
            expert("script", provider, pricing={"input": "0", "output": "0"}, maxOutputTokens=8192),
            manager("scripted", "script", limits={"maxOutputTokens": 8192}),
            manager("self-made", "brief", limits={"maxTurns": 2, "maxOutputTokens": 48}),
            manifest("Orchestrator", "by-price", {"policy": {"baseline": "cheapest"}, "tools": {"include": ["brief"]}}),
        )
        made.start()
        assert made.key
        wait_until(lambda: state(made, "tiny")["ready"] is True)
        yield made


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    """Threads for clients that wait; joined when the test ends."""
    with ThreadPoolExecutor(8) as threads:
        yield threads


def say(content: str) -> Any:
    """The messages of one question."""
    return [{"role": "user", "content": content}]


def state(platform: Platform, name: str) -> dict[str, Any]:
    """What the platform says of a tool or an expert."""
    listed = platform.http().get("/v1/tools").json()["data"]
    return next(one for one in listed if one["name"] == name)
