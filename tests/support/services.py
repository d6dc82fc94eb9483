"""Real PostgreSQL and Valkey for tests, one server each per session; they die with the test process, however it dies."""

import asyncio
import itertools
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import redis

from toolorchestra.cli.embedded.leash import leashed
from toolorchestra.cli.embedded.parts import Part
from toolorchestra.cli.embedded.postgres import postgres_part, postgres_url
from toolorchestra.cli.embedded.valkey import valkey_part
from toolorchestra.ledger.schema import migrate

# A test's database need not outlive a power cut.
POSTGRES_SETTINGS = {"fsync": "off", "full_page_writes": "off", "max_connections": "300"}


@contextmanager
def running(part: Part, *, log: Path, startup_ms: int = 60_000) -> Iterator[Part]:
    """Run one part for as long as the block lasts; fails with its log when it does not become ready."""
    with log.open("ab") as output:
        process = subprocess.Popen(leashed(part.argv, end=part.stop), stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + startup_ms / 1000
        while not asyncio.run(_is_ready(part)):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{part.name} did not start:\n{log.read_text(errors='replace')}", pytrace=False)
            time.sleep(0.02)
        yield part
    finally:
        process.send_signal(part.stop)
        try:
            process.wait(timeout=part.grace_ms / 1000)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _is_ready(part: Part) -> bool:
    return await part.ready()


@pytest.fixture(scope="session")
def services_folder() -> Iterator[Path]:
    """A folder for the servers' data, outside pytest's own: servers that run as another user must reach it."""
    folder = Path(tempfile.mkdtemp(prefix="to-tests-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_folder(services_folder: Path) -> Iterator[Path]:
    """The folder of a running PostgreSQL; ``postgres_url(folder, database=…)`` is a DSN of it."""
    folder = services_folder / "pg"
    part = postgres_part(folder, settings=POSTGRES_SETTINGS)
    with running(part, log=services_folder / "postgres.log"):
        yield folder


@pytest.fixture(scope="session")
def new_database(postgres_folder: Path) -> Iterator[Callable[[str], str]]:
    """Makes a database from a template (``template0`` is empty) and returns its DSN."""
    numbers = itertools.count(1)
    with psycopg.connect(postgres_url(postgres_folder, database="postgres"), autocommit=True) as admin:

        def create(template: str) -> str:
            name = f"test_{next(numbers)}"
            admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
            return postgres_url(postgres_folder, database=name)

        yield create


@pytest.fixture(scope="session")
def migrated_template(new_database: Callable[[str], str]) -> str:
    """The name of a database with the platform's schema, to make others from."""
    url = new_database("template0")
    asyncio.run(migrate(url))
    return _name(url)


@pytest.fixture
def database_url(new_database: Callable[[str], str], migrated_template: str) -> Iterator[str]:
    """The DSN of a database of this test's own, with the platform's schema."""
    url = new_database(migrated_template)
    yield url
    _drop(url)


@pytest.fixture
def empty_database_url(new_database: Callable[[str], str]) -> Iterator[str]:
    """The DSN of an empty database of this test's own."""
    url = new_database("template0")
    yield url
    _drop(url)


def _name(url: str) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(url)["dbname"])


def _drop(url: str) -> None:
    name = _name(url)
    with psycopg.connect(url.replace(f"/{name}?", "/postgres?"), autocommit=True) as admin:
        admin.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def valkey_server_url(services_folder: Path) -> Iterator[str]:
    """The URL of a running Valkey, shared by the session."""
    with running(valkey_part(services_folder / "valkey"), log=services_folder / "valkey.log") as part:
        yield part.url


@pytest.fixture
def valkey_url(valkey_server_url: str) -> str:
    """The URL of a Valkey that is empty when the test begins."""
    with redis.Redis.from_url(valkey_server_url) as client:
        client.flushall()
    return valkey_server_url
