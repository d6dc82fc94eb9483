"""What the tests of a running orchestrator share: peers for a module, threads for a test."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.orchestrator.peers import ToolPeer
from toolorchestra.executors.testing import CountingProvider


@pytest.fixture(scope="module")
def provider() -> Iterator[CountingProvider]:
    """A model provider that counts its own bill, for all tests of the module."""
    with CountingProvider() as running:
        yield running


@pytest.fixture(scope="module")
def tools() -> Iterator[ToolPeer]:
    """HTTP tools, for all tests of the module."""
    with ToolPeer() as peer:
        yield peer


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    """Threads for clients that wait; joined when the test ends."""
    with ThreadPoolExecutor(8) as threads:
        yield threads
