"""The server that the tests of the CRDs talk to."""

from collections.abc import Iterator

import pytest

from infra.cluster.local import LocalControlPlane
from tests.support.crds import Server


@pytest.fixture
def server(platform_api: LocalControlPlane, namespace: str) -> Iterator[Server]:
    """The REST API with an empty namespace."""
    running = Server(platform_api, namespace)
    yield running
    running.close()
