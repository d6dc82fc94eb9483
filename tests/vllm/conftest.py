"""A platform whose expert is a real vLLM, shared by all tests here; a scripted manager where a test needs certain calls."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.platform import Platform, PlatformFactory, expert, manager, manifest, wait_until
from tests.support.vllm import Vllm
from tests.vllm.served import served, state
from toolorchestra.executors.testing import CountingProvider


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The time of a test is its own: setting vLLM up takes what it takes."""
    for item in items:
        if Path(__file__).parent in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(120, func_only=True))


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
