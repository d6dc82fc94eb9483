"""Real peers for the operator's probes."""

from collections.abc import Iterator

import pytest

from tests.integration.executors.making import peer, process


@pytest.fixture(scope="session")
def http_peer() -> Iterator[str]:
    with process(*peer("http_peer")) as url:
        yield url


@pytest.fixture(scope="session")
def mcp_peer() -> Iterator[str]:
    with process(*peer("mcp_peer")) as url:
        yield url
