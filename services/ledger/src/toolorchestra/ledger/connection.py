"""A connection that runs several statements in one round trip.

psycopg's own pipeline writes to the socket statement by statement and costs the client several times as much processor time
as this, which is what bounds a busy replica. Here all statements of a batch leave in one write, with one synchronisation.
They are prepared once per connection, under a name made of their text and the types of their parameters.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias

import psycopg
from psycopg import abc, pq
from psycopg.abc import Buffer, PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import FeatureNotSupported, InvalidSqlStatementName, error_from_result
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.rows import DictRow
from psycopg.waiting import Wait
from typing_extensions import override

from toolorchestra.ledger.statements import Step

Rows: TypeAlias = list[DictRow]

_PARAMETER: Final = re.compile(r"%\(([a-z_]+)\)s|%%")
_FAILED: Final = (ExecStatus.FATAL_ERROR, ExecStatus.PIPELINE_ABORTED)


class StaleStatementError(psycopg.OperationalError):
    """The server forgot a prepared statement, or a migration changed what it returns. The next try prepares it anew."""


class Connection(psycopg.AsyncConnection[DictRow]):
    """An asynchronous connection with batches. ``prepares`` is off behind poolers that lose prepared statements."""

    prepares: bool = True

    @override
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._known: set[bytes] = set()
        self._generation = 0  # part of the names, so that they are new after all were forgotten

    async def run(self, steps: Sequence[Step]) -> list[Rows]:
        """Run steps in order, in one round trip; the rows of each. The first error is raised; no later step was run."""
        async with self.lock:
            results = await self.wait(self._batch(steps))
        transformer = Transformer(self)  # finds out once how a type is read
        return [_rows(transformer, result) for result in results]

    async def rows(self, one: Step) -> Rows:
        """The rows of one statement."""
        return (await self.run([one]))[0]

    async def row(self, one: Step) -> DictRow | None:
        """The first row of one statement."""
        found = await self.rows(one)
        return found[0] if found else None

    async def roll_back(self) -> None:
        """Undo the open transaction, if there is one and the server can still be told."""
        if not self.closed and self.info.transaction_status is not TransactionStatus.IDLE:
            await self.run([Step("ROLLBACK")])

    def _batch(self, steps: Sequence[Step]) -> PQGen[list[pq.abc.PGresult]]:
        transformer = Transformer(self)  # finds out once how a type is written
        planned = [_planned(one, transformer) for one in steps]  # nothing is queued if a value cannot be written
        self.pgconn.enter_pipeline_mode()
        try:
            names = [name for one in planned for name in self._send(one)]
            self.pgconn.pipeline_sync()
            results = yield from _answers(self.pgconn)
        finally:
            if self.pgconn.status == pq.ConnStatus.OK:
                self.pgconn.exit_pipeline_mode()
        return self._sorted(names, results)

    def _send(self, one: "_Planned") -> list[bytes]:
        """Queue one statement; a name for each answer that will come: that of a preparation, empty for the statement's own."""
        if not self.prepares:
            self.pgconn.send_query_params(one.text, one.values, one.types, one.formats)
            return [b""]
        name = b"%s_%d" % (_name(one.text, one.types), self._generation)
        new = name not in self._known
        if new:
            self._known.add(name)
            self.pgconn.send_prepare(name, one.text, one.types)
        self.pgconn.send_query_prepared(name, one.values, one.formats)
        return [name, b""] if new else [b""]

    def _sorted(self, names: Sequence[bytes], results: Sequence[pq.abc.PGresult]) -> list[pq.abc.PGresult]:
        """The statements' own results. Preparations that failed are forgotten."""
        failed = next((result for result in results if result.status in _FAILED), None)
        for name, result in zip(names, results, strict=True):
            if name and result.status in _FAILED:
                self._known.discard(name)
        if failed is not None:
            error = error_from_result(failed, encoding=self.info.encoding)
            if _is_stale(error):
                self._known.clear()
                self._generation += 1
                raise StaleStatementError(str(error)) from error
            raise error
        return [result for name, result in zip(names, results, strict=True) if not name]


def _is_stale(error: psycopg.Error) -> bool:
    changed = isinstance(error, FeatureNotSupported) and "cached plan" in str(error)
    return changed or isinstance(error, InvalidSqlStatementName)


@dataclass(frozen=True, slots=True)
class _Planned:
    """A statement as the wire wants it."""

    text: bytes
    values: Sequence[Buffer | None]
    types: tuple[int, ...]
    formats: Sequence[pq.Format] | None


def _planned(one: Step, transformer: abc.Transformer) -> _Planned:
    text, order = _positional(one.text)
    values = transformer.dump_sequence([one.params[name] for name in order], [PyFormat.AUTO] * len(order))
    return _Planned(text, values, tuple(transformer.types or ()), transformer.formats)


def _answers(pgconn: pq.abc.PGconn) -> PQGen[list[pq.abc.PGresult]]:
    """Send what is queued and read every result up to the synchronisation."""
    results: list[pq.abc.PGresult] = []
    while pgconn.flush():
        yield Wait.RW
        pgconn.consume_input()
    while True:
        yield Wait.R
        pgconn.consume_input()
        while not pgconn.is_busy():
            result = pgconn.get_result() or pgconn.get_result()  # nothing, once, between two statements
            if result is None:
                raise psycopg.OperationalError("the connection was lost")
            if result.status == ExecStatus.PIPELINE_SYNC:
                return results
            results.append(result)


def _rows(transformer: abc.Transformer, result: pq.abc.PGresult) -> Rows:
    if result.status != ExecStatus.TUPLES_OK:
        return []
    transformer.set_pgresult(result)
    names = [(result.fname(column) or b"").decode() for column in range(result.nfields)]
    return transformer.load_rows(0, result.ntuples, lambda values: dict(zip(names, values, strict=True)))


@lru_cache(maxsize=512)
def _positional(text: str) -> tuple[bytes, tuple[str, ...]]:
    """A statement with ``$1`` for its first named parameter and so on, and their names in order."""
    order: dict[str, int] = {}

    def number(match: re.Match[str]) -> str:
        name = match[1]
        return f"${order.setdefault(name, len(order) + 1)}" if name else "%"

    return _PARAMETER.sub(number, text).encode(), tuple(order)


@lru_cache(maxsize=2048)
def _name(text: bytes, types: tuple[int, ...]) -> bytes:
    return b"to_" + hashlib.sha256(repr((text, types)).encode()).hexdigest()[:20].encode()
