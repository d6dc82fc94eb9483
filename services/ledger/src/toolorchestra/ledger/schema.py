"""The database schema: forward-only migrations, and whether this program works with what it finds.

A migration expands, so programs of the release before go on working, or it contracts: then its file has the line
``-- needs programs that know schema N``, and programs whose newest migration is older than N say that they are not ready.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final, LiteralString

from psycopg.rows import dict_row

from toolorchestra.core.errors import UnavailableError
from toolorchestra.ledger.connection import Connection
from toolorchestra.ledger.errors import LedgerError, translated
from toolorchestra.ledger.statements import Step, step

MIN_VERSION: Final = 8  # the oldest schema that this program works with
MAX_VERSION: Final = 8  # the newest that it knows; a newer one is fine while that shuts no program out
HINT: Final = "run python -m toolorchestra.ledger migrate"
_PREPARATION: Final = (
    "migrate_lock",
    "migrate_bootstrap",
    "migrate_history",
    "migrate_needs",
    "migrate_path",
    "migrate_applied",
)
_NEEDS: Final = re.compile(r"^-- needs programs that know schema ([0-9]+)$", re.MULTILINE)
_NAME: Final = re.compile(r"^([0-9]{4})_([a-z_]+)\.sql$")


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered file."""

    version: int
    name: str
    text: LiteralString

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def needs(self) -> int:
        """The schema that a program must know to work after it; 0 shuts none out."""
        said = _NEEDS.search(self.text)
        return int(said[1]) if said else 0


@cache
def migrations() -> tuple[Migration, ...]:
    """All migrations, in order."""
    folder = resources.files("toolorchestra.ledger") / "migrations"
    found = [(match, entry) for entry in folder.iterdir() if (match := _NAME.match(entry.name))]
    files = [Migration(int(match[1]), match[2], entry.read_text(encoding="utf-8")) for match, entry in found]
    return tuple(sorted(files, key=lambda migration: migration.version))


async def migrate(dsn: str, *, to: int | None = None) -> list[int]:
    """Bring the schema up to date (or up to version ``to``) in one transaction; the versions that were applied.

    Needs the rights of the owner. May run anywhere at any time: the second one waits and finds nothing to do.
    Raises UnavailableError without a database, LedgerError when an applied migration's file was changed.
    """
    with translated():
        connection = await Connection.connect(dsn, autocommit=True, row_factory=dict_row)
        async with connection:
            *_, rows = await connection.run([Step("BEGIN"), *(step("session", name) for name in _PREPARATION)])
            done = await _apply(connection, {row["version"]: row["hash"] for row in rows}, to)
            await connection.run([Step("COMMIT")])
    return done


async def check_schema(connection: Connection) -> int:
    """The schema's version. Raises UnavailableError unless this program works with it."""
    with translated():
        row = await connection.row(step("session", "schema_exists"))
        if row is None or not row["present"]:
            raise UnavailableError("the database has no schema yet", hint=HINT)
        row = await connection.row(step("session", "schema_version"))
    version, needs = (int(row["version"]), int(row["needs"])) if row else (0, 0)
    if version < MIN_VERSION:
        raise UnavailableError(f"the database's schema is {version}, at least {MIN_VERSION} is needed", hint=HINT)
    if needs > MAX_VERSION:
        raise UnavailableError(
            f"the database's schema {version} needs a program that knows {needs}, this one knows up to {MAX_VERSION}",
            hint="update this program",
        )
    return version


async def _apply(connection: Connection, applied: Mapping[int, str], to: int | None) -> list[int]:
    done: list[int] = []
    for migration in migrations():
        if migration.version in applied:
            _check_unchanged(migration, applied[migration.version])
        elif to is None or migration.version <= to:
            await connection.execute(migration.text)
            record = {"version": migration.version, "name": migration.name, "hash": migration.hash, "needs": migration.needs}
            await connection.run([step("session", "migrate_record", **record)])
            done.append(migration.version)
    return done


def _check_unchanged(migration: Migration, recorded: str) -> None:
    if migration.hash != recorded:
        raise LedgerError(
            f"migration {migration.version:04d}_{migration.name}.sql differs from what was applied",
            hint="restore the file; write a new migration for a change",
        )
