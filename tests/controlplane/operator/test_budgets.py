"""BudgetPolicies: what the ledger really holds, whatever happens to the operator and to the database in between."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.integration.ledger.shorthand import Ledger
from tests.support.operators import OperatorSpace
from toolorchestra.ledger import policies
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.policies import Enforced

SOCKET = ".s.PGSQL.5432"
LIMITS = {"limits": {"day": "2.00"}, "alerts": [50, 100]}


def database_of(space: OperatorSpace) -> str:
    return space.environment["TOOLORCHESTRA_DATABASE_URL"]


def held(space: OperatorSpace) -> Enforced | None:
    """What the ledger holds for the namespace."""

    async def read() -> Enforced | None:
        async with await Database.open(database_of(space)) as database, database.system() as connection:
            return await policies.get_policy(connection, space.namespace)

    return asyncio.run(read())


def spend(space: OperatorSpace, nano_usd: int) -> None:
    """A run of the tenant's that costs so much."""

    async def run() -> None:
        async with await Database.open(database_of(space)) as database:
            ledger = Ledger(database)
            opened = await ledger.open(tenant=space.namespace)
            await opened.settle(await opened.take(nano_usd), nano_usd)
            await opened.close()

    asyncio.run(run())


def wait_for(check: Callable[[], bool], *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.2)


def test_a_policy_is_held_spent_from_changed_and_let_go(operator_space: OperatorSpace) -> None:
    space = operator_space
    with space.operator(default_budget='{"limits": {"total": "0"}}'):
        space.apply("BudgetPolicy", "default", LIMITS)
        status = space.wait("BudgetPolicy", "default", "Enforced", "True", seconds=5)["status"]
        assert [one["type"] for one in status["conditions"]] == ["Accepted", "Enforced", "NearLimit", "Ready"]
        assert (status["limit"], status["spent"], status["remaining"], status["window"]) == ("2.00", "0.00", "2.00", "day")
        assert (held(space) or pytest.fail("nothing is held")).hash == status["hash"]
        spend(space, 1_200_000_000)
        status = space.wait("BudgetPolicy", "default", "NearLimit", "True")["status"]
        assert (status["spent"], status["remaining"]) == ("1.20", "0.80")
        assert "50 %" in space.condition("BudgetPolicy", "default", "NearLimit")["message"]
        space.apply("BudgetPolicy", "default", LIMITS | {"limits": {"day": "5.00"}})
        status = space.wait("BudgetPolicy", "default", "NearLimit", "False")["status"]
        assert (status["limit"], status["spent"]) == ("5.00", "1.20")
        assert ("Warning", "AlertReached") in space.events("default")
        space.delete("BudgetPolicy", "default")
        wait_for(lambda: getattr(held(space), "source", "") == "default")


def test_a_policy_deleted_while_no_operator_runs_is_let_go_at_its_start(operator_space: OperatorSpace) -> None:
    space = operator_space
    with space.operator() as operator:
        space.apply("BudgetPolicy", "default", LIMITS)
        space.wait("BudgetPolicy", "default", "Enforced", "True")
        operator.kill()
    space.delete("BudgetPolicy", "default")
    assert getattr(held(space), "source", "") == "policy"
    with space.operator():
        wait_for(lambda: getattr(held(space), "source", "") == "default")


def test_a_time_zone_that_does_not_exist_is_not_enforced(shared_space: OperatorSpace) -> None:
    shared_space.apply("BudgetPolicy", "default", LIMITS | {"timeZone": "Europe/Nowhere"})
    body = shared_space.wait("BudgetPolicy", "default", "Ready", "False", reason="InvalidSpec")
    conditions = {one["type"]: one for one in body["status"]["conditions"]}
    assert "Europe/Nowhere" in conditions["Accepted"]["message"]
    assert conditions["Enforced"]["status"] == "Unknown"


def test_the_database_goes_away_and_comes_back(operator_space: OperatorSpace, tmp_path: Path) -> None:
    """The way to the server is a link in a folder of the test's own, so that nobody else loses it."""
    space, url = operator_space, urlsplit(database_of(operator_space))
    way = tmp_path / SOCKET
    server = Path(url.query.removeprefix("host=")) / SOCKET
    settings = {"database_url": url._replace(query=f"host={tmp_path}").geturl()}
    with space.operator(**settings):
        space.apply("BudgetPolicy", "default", LIMITS)
        space.wait("BudgetPolicy", "default", "Enforced", "Unknown", reason="LedgerUnavailable")
        space.apply("Tool", "other", {"description": "Adds.", "plugin": {"name": "calculator"}})
        space.wait("Tool", "other", "Ready", "True", seconds=10)
        way.symlink_to(server)
        space.wait("BudgetPolicy", "default", "Enforced", "True")
        way.unlink()
        with psycopg.connect(database_of(space), autocommit=True) as admin:
            mine = "datname = current_database() AND pid <> pg_backend_pid()"
            admin.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine}")
        body = space.wait("BudgetPolicy", "default", "Enforced", "Unknown", reason="LedgerUnavailable")
        assert body["status"]["limit"] == "2.00", "the last figures stay"
        way.symlink_to(server)
        space.wait("BudgetPolicy", "default", "Enforced", "True")
