"""Starting a platform: real PostgreSQL and Valkey, with a stand-in for the orchestrator that speaks its contract."""

import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.integration.cli.contract_server import ContractServer
from toolorchestra.cli.connection import Connection, NotRunningError
from toolorchestra.cli.embedded.parts import free_port
from toolorchestra.cli.embedded.supervisor import PartFailedError, Supervisor
from toolorchestra.cli.platform.folder import StateFolder
from toolorchestra.cli.platform.options import UpOptions
from toolorchestra.cli.platform.services import Programs
from toolorchestra.cli.platform.start import Platform, Starter
from toolorchestra.core.errors import ConflictError, InvalidRequestError
from toolorchestra.ledger.schema import MAX_VERSION

READY = 'touch "$TOOLORCHESTRA_READY_FILE"'
PROGRAMS = Programs(
    orchestrator=(sys.executable, "-m", "tests.integration.cli.contract_server"),
    worker=("sh", "-c", f"{READY}; exec sleep 60"),
)


@pytest.fixture
def state() -> Iterator[Path]:
    """A state folder where servers of another user may reach it."""
    folder = Path(tempfile.mkdtemp(prefix="to-starting-"))
    yield folder / ".toolorchestra"
    shutil.rmtree(folder)


def options(state: Path, **changes) -> UpOptions:
    return UpOptions(state=state, **{"port": free_port(), "local_model": False, **changes})


async def start_and_stop(wanted: UpOptions, *, programs: Programs = PROGRAMS) -> tuple[Platform, list[str]]:
    told: list[str] = []
    async with Supervisor(wanted.state) as supervisor:
        platform = await Starter(wanted, tell=lambda name, _: told.append(name), programs=programs).start(supervisor)
        assert Connection.find(None, wanted.state).url == platform.url
    return platform, told


def environment(state: Path) -> dict[str, str]:
    return json.loads((state / "environment.json").read_text())


async def test_a_platform_starts_with_a_schema_and_a_key_that_is_kept(state):
    platform, told = await start_and_stop(options(state))
    assert set(told) == {"postgres", "valkey", "schema", "orchestrator", "worker", "sandbox-worker"}
    assert StateFolder(state).api_key() == platform.api_key
    again, _ = await start_and_stop(options(state))
    assert again.api_key == platform.api_key
    with pytest.raises(NotRunningError):
        Connection.find(None, state)


async def test_the_schema_is_there_before_the_orchestrator_starts(state):
    wanted = options(state)
    async with Supervisor(state) as supervisor:
        await Starter(wanted, programs=PROGRAMS).start(supervisor)
        with psycopg.connect(environment(state)["TOOLORCHESTRA_DATABASE_URL"]) as connection:
            row = connection.execute("SELECT max(version) FROM toolorchestra.migrations").fetchone()
    assert row == (MAX_VERSION,)


async def test_a_key_that_the_platform_no_longer_knows_is_replaced(state):
    first, _ = await start_and_stop(options(state))
    StateFolder(state).keep_api_key("to_7.forgotten")
    second, _ = await start_and_stop(options(state))
    assert second.api_key not in (first.api_key, "to_7.forgotten")
    assert StateFolder(state).api_key() == second.api_key


async def test_what_is_given_takes_the_place_of_what_is_embedded(state, empty_database_url):
    wanted = options(state, database_url=empty_database_url, broker_url="amqp://broker", signal_url="redis://signals")
    _, told = await start_and_stop(wanted)
    assert set(told) == {"schema", "orchestrator", "worker", "sandbox-worker"}
    found = environment(state)
    assert found["TOOLORCHESTRA_DATABASE_URL"] == empty_database_url
    assert found["TOOLORCHESTRA_BROKER_URL"] == "amqp://broker"
    assert found["TOOLORCHESTRA_SIGNAL_URL"] == "redis://signals"


async def test_a_broker_of_ones_own_leaves_the_signals_to_valkey(state, empty_database_url):
    _, told = await start_and_stop(options(state, database_url=empty_database_url, broker_url="amqp://broker"))
    assert "valkey" in told
    assert environment(state)["TOOLORCHESTRA_BROKER_URL"] == "amqp://broker"
    assert environment(state)["TOOLORCHESTRA_SIGNAL_URL"].startswith("redis://:")


async def test_the_local_model_is_announced_and_its_address_opened(state, empty_database_url):
    common = {"database_url": empty_database_url, "broker_url": "amqp://b", "signal_url": "redis://s"}
    _, told = await start_and_stop(options(state, local_model=True, **common))
    assert "local-model" in told
    manifest = (state / "manifests" / "local-model.yaml").read_text()
    (opened,) = json.loads(environment(state)["TOOLORCHESTRA_EGRESS_ALLOW"])
    assert f"http://{opened}/v1" in manifest
    await start_and_stop(options(state, local_model=True, **common))
    assert (state / "manifests" / "local-model.yaml").read_text() == manifest
    await start_and_stop(options(state, **common))
    assert list((state / "manifests").iterdir()) == []


async def test_a_taken_port_is_named_before_anything_starts(state):
    with ContractServer() as other, pytest.raises(ConflictError, match=f"port {other.server_port} is taken"):
        await start_and_stop(options(state, port=other.server_port))
    assert not (state / "postgres").exists()


async def test_an_address_that_cannot_be_opened_is_refused(state):
    with pytest.raises(InvalidRequestError, match="not a host"):
        await start_and_stop(options(state, allow_egress=("http://x/",)))


async def test_a_service_that_fails_is_named_with_its_log(state):
    broken = Programs(orchestrator=("sh", "-c", "echo no such setting; exit 2"), worker=PROGRAMS.worker)
    with pytest.raises(PartFailedError, match=r"(?s)orchestrator ended with status 2.*no such setting"):
        await start_and_stop(options(state), programs=broken)


async def test_a_worker_that_fails_later_is_named_with_its_log(state):
    broken = Programs(orchestrator=PROGRAMS.orchestrator, worker=("sh", "-c", f"{READY}; sleep 1; echo no broker; exit 3"))
    async with Supervisor(state) as supervisor:
        await Starter(options(state), programs=broken).start(supervisor)
        with pytest.raises(PartFailedError, match=r"(?s)worker ended with status 3.*no broker"):
            await asyncio.wait_for(supervisor.wait(), 20)


async def test_a_worker_that_does_not_come_up_fails_the_start_with_its_log(state):
    broken = Programs(orchestrator=PROGRAMS.orchestrator, worker=("sh", "-c", "echo no broker; exit 3"))
    with pytest.raises(PartFailedError, match=r"(?s)worker ended with status 3.*no broker"):
        await start_and_stop(options(state), programs=broken)


async def test_what_a_killed_worker_said_is_not_believed(state):
    silent = Programs(orchestrator=PROGRAMS.orchestrator, worker=("sleep", "60"))
    folder = StateFolder(state)
    folder.prepare()
    folder.ready_file("worker").touch()
    wanted = options(state)
    async with Supervisor(state, startup_ms=10_000) as supervisor:
        with pytest.raises(PartFailedError, match="worker was not ready"):
            await Starter(wanted, programs=silent).start(supervisor)
