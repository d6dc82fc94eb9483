"""``python -m toolorchestra.ledger migrate|check|invariants|reap``: the schema and its laws from a shell or a Job."""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from toolorchestra.core.errors import ToolOrchestraError
from toolorchestra.ledger.checks import invariants
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.reaper import reap
from toolorchestra.ledger.schema import check_schema, migrate

DSN_VARIABLE: Final = "TOOLORCHESTRA_DATABASE_URL"
PATIENCE_MS: Final = 3_000  # somebody waits for the command


def main() -> int:
    """Run one command; 0 if all is well, 1 if a law does not hold, 2 if the command could not run."""
    arguments = _parser().parse_args()
    dsn = arguments.dsn or os.environ.get(DSN_VARIABLE, "")
    if not dsn:
        return _fail(f"no database: pass --dsn or set {DSN_VARIABLE}")
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # what it warns of comes back as the error
    try:
        return asyncio.run(_COMMANDS[arguments.command](dsn))
    except ToolOrchestraError as error:
        return _fail(str(error))


async def _migrate(dsn: str) -> int:
    done = await migrate(dsn)
    _say(f"applied {', '.join(str(version) for version in done)}" if done else "nothing to do")
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


_COMMANDS: Final[Mapping[str, Callable[[str], Coroutine[Any, Any, int]]]] = {
    "migrate": _migrate,
    "check": _check,
    "invariants": _invariants,
    "reap": _reap,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m toolorchestra.ledger", description=__doc__)
    parser.add_argument(
        "command", choices=sorted(_COMMANDS), help="migrate the schema, check its version, check the laws, reap"
    )
    parser.add_argument("--dsn", help=f"connection string; default: the environment's {DSN_VARIABLE}")
    return parser


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _fail(text: str) -> int:
    sys.stderr.write(f"{text}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
