"""Databases, a broker, the owner's desk, a peer, and workers that do not outlive their tests."""

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.integration.worker.harness import Desk, Peer, WorkerProcess
from toolorchestra.ledger.schema import migrate


class StartWorker(Protocol):
    def __call__(self, **settings: Any) -> WorkerProcess: ...


@pytest.fixture(scope="session")
def worker_template(new_database: Callable[[str], str]) -> str:
    """The name of a migrated database that nobody is connected to."""
    url = new_database("template0")
    asyncio.run(migrate(url))
    return url.split("?")[0].rpartition("/")[2]


@pytest.fixture
def database_url(new_database: Callable[[str], str], worker_template: str) -> str:
    return new_database(worker_template)


@pytest.fixture
async def desk(database_url: str, valkey_url: str) -> AsyncIterator[Desk]:
    async with Desk.open(database_url, valkey_url) as opened:
        yield opened


@contextmanager
def served_peer() -> Iterator[Peer]:
    peer = Peer()
    server = peer.serve()
    try:
        yield peer
    finally:
        peer.gate.set()
        server.shutdown()
        server.server_close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    """A server whose gate is shut."""
    with served_peer() as peer:
        yield peer


@pytest.fixture
def new_worker(database_url: str, valkey_url: str, peer: Peer, tmp_path: Path) -> Iterator[StartWorker]:
    """Makes workers, not yet started, with short times."""
    made: list[WorkerProcess] = []
    numbers = itertools.count(1)

    def make(**settings: Any) -> WorkerProcess:
        folder = tmp_path / f"worker{next(numbers)}"
        folder.mkdir()
        made.append(configured(folder, peer, valkey_url, **{"database_url": database_url, **settings}))
        return made[-1]

    yield make
    for worker in made:
        worker.end()
        sys.stdout.write(worker.log)  # shown with a test that failed


def configured(folder: Path, peer: Peer, valkey_url: str, **settings: Any) -> WorkerProcess:
    """A worker, not yet started, with a short lease."""
    values: dict[str, Any] = {
        "broker_url": valkey_url, "signal_url": valkey_url, "lease_ms": 1_000, "egress_allow": (peer.address,),
        "concurrency": 4, **settings,
    }  # fmt: skip
    return WorkerProcess(folder, **values)


@pytest.fixture
def start_worker(new_worker: StartWorker) -> StartWorker:
    """Starts workers that take calls when it returns."""

    def start(**settings: Any) -> WorkerProcess:
        return new_worker(**settings).start()

    return start


@dataclass
class Site:
    """What the tests of a module share, because a worker takes seconds to start."""

    database_url: str
    valkey_url: str
    peer: Peer
    folder: Path

    @contextmanager
    def worker(self, *, folder: str = "worker", **settings: Any) -> Iterator[WorkerProcess]:
        path = self.folder / folder
        path.mkdir()
        worker = configured(path, self.peer, self.valkey_url, database_url=self.database_url, **settings)
        try:
            yield worker.start()
        finally:
            worker.end()

    @contextmanager
    def fresh_peer(self) -> Iterator[Peer]:
        """The peer as if nothing had happened yet."""
        self.peer.hits.clear()
        self.peer.gate.clear()
        yield self.peer
        self.peer.gate.set()


@pytest.fixture(scope="module")
def site(
    new_database: Callable[[str], str], worker_template: str, valkey_server_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:  # fmt: skip
    with served_peer() as peer:
        yield Site(new_database(worker_template), valkey_server_url, peer, tmp_path_factory.mktemp("site"))
