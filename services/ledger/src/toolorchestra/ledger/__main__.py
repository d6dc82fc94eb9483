"""``python -m toolorchestra.ledger migrate|check|invariants|reap``: the schema and its laws from a shell or a Job."""

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from pydantic import Field, SecretStr

from toolorchestra.core.errors import InvalidRequestError, ToolOrchestraError, UnavailableError
from toolorchestra.kit.settings import Settings
from toolorchestra.ledger.checks import invariants
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.logins import admit
from toolorchestra.ledger.reaper import reap
from toolorchestra.ledger.schema import check_schema, migrate

DSN_VARIABLE: Final = "TOOLORCHESTRA_DATABASE_URL"
PATIENCE_MS: Final = 3_000  # somebody waits for the command
PAUSE_S: Final = 2.0


class LedgerSettings(Settings):
    """One frozen tree."""

    database_url: SecretStr | None = Field(default=None, description="PostgreSQL, as the services reach it.")
    owner_url: SecretStr | None = Field(default=None, description="The same database, as its owner. Default: database_url.")


def main() -> int:
    """Run one command; 0 if all is well, 1 if a law does not hold, 2 if the command could not run."""
    arguments = _parser().parse_args()
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # what it warns of comes back as the error
    try:
        command = _command(arguments.command, arguments.dsn)
        return asyncio.run(_patiently(command, arguments.wait))
    except ToolOrchestraError as error:
        return _fail(str(error))


def _command(name: str, dsn: str | None) -> Callable[[], Awaitable[int]]:
    settings = LedgerSettings.load()
    found = dsn or (settings.database_url.get_secret_value() if settings.database_url else "")
    owner = settings.owner_url.get_secret_value() if settings.owner_url and not dsn else found
    if not (owner if name == "migrate" else found):
        raise InvalidRequestError(f"no database: pass --dsn or set {DSN_VARIABLE}")
    return lambda: _migrate(owner, found) if name == "migrate" else _COMMANDS[name](found)


async def _patiently(command: Callable[[], Awaitable[int]], wait_s: int) -> int:
    """Try again while there is no database, or none of a fitting schema, for at most ``wait_s``."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return await command()
        except UnavailableError as error:
            if time.monotonic() + PAUSE_S > deadline:
                raise
            sys.stderr.write(f"{error}\n")
        await asyncio.sleep(PAUSE_S)


async def _migrate(owner: str, dsn: str) -> int:
    done = await migrate(owner)
    _say(f"applied {', '.join(str(version) for version in done)}" if done else "nothing to do")
    if dsn and dsn != owner and await admit(owner, dsn):
        _say("admitted the services' login")
    return 0


async def _check(dsn: str) -> int:
    async with await Database.open(dsn, max_size=2, timeout_ms=PATIENCE_MS) as database, database.login() as connection:
        version = await check_schema(connection)
    _say(f"schema {version}: ok")
    return 0


async def _invariants(dsn: str) -> int:
    async with await Database.open(dsn, max_size=2, timeout_ms=PATIENCE_MS) as database, database.system() as connection:
        found = await invariants(connection)
    for violation in found:
        _say(str(violation))
    _say(f"{len(found)} violations")
    return 1 if found else 0


async def _reap(dsn: str) -> int:
    async with await Database.open(dsn, max_size=2, timeout_ms=PATIENCE_MS) as database:
        total = 0
        while closed := await reap(database):
            total += closed
    _say(f"closed {total} expired holds")
    return 0


_COMMANDS: Final[Mapping[str, Callable[[str], Awaitable[int]]]] = {
    "check": _check,
    "invariants": _invariants,
    "reap": _reap,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m toolorchestra.ledger", description=__doc__)
    parser.add_argument(
        "command", choices=sorted((*_COMMANDS, "migrate")), help="migrate the schema, check its version, check the laws, reap"
    )
    parser.add_argument("--dsn", help=f"connection string; default: the environment's {DSN_VARIABLE}")
    parser.add_argument("--wait", type=int, default=0, metavar="SECONDS", help="go on trying while the database is not there")
    return parser


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _fail(text: str) -> int:
    sys.stderr.write(f"{text}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
