"""Real peers, each a process of its own that ends with this one."""

from collections.abc import AsyncIterator, Callable, Iterator

import httpx2
import pytest

from tests.integration.executors.making import peer, process
from toolorchestra.executors.factory import Toolbox, open_toolbox
from toolorchestra.executors.testing import CountingProvider
from toolorchestra.kit.egress import EgressGuard
from toolorchestra.kit.secrets import EnvironmentSecrets

SECRETS = {"PEER_KEY": "s3cret", "MODEL_API_KEY": "sk-right"}


@pytest.fixture(scope="session")
def http_peer() -> Iterator[str]:
    with process(*peer("http_peer")) as url:
        yield url


@pytest.fixture(scope="session")
def mcp_peer() -> Iterator[str]:
    with process(*peer("mcp_peer")) as url:
        yield url


@pytest.fixture
def stats(http_peer: str) -> Callable[[], dict[str, int]]:
    def read() -> dict[str, int]:
        found: dict[str, int] = httpx2.get(f"{http_peer}/stats").json()
        return found

    return read


@pytest.fixture
def provider() -> Iterator[CountingProvider]:
    with CountingProvider() as running:
        yield running


@pytest.fixture
async def toolbox() -> AsyncIterator[Toolbox]:
    guard = EgressGuard(["127.0.0.1"])
    async with open_toolbox(guard, EnvironmentSecrets(SECRETS), allow_stdio=True) as box:
        yield box
