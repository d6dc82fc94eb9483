"""The edge to PostgreSQL: a pool, transactions with a role, and whole transactions in one round trip. Only this commits."""

import select
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Literal, Self

from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row
from psycopg.types.numeric import Int8Dumper
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from toolorchestra.ledger.connection import Connection, Rows, StaleStatementError
from toolorchestra.ledger.errors import LedgerError, translated
from toolorchestra.ledger.statements import Step, step

_BEGIN = Step("BEGIN")
_COMMIT = Step("COMMIT")
# The pool's pauses grow with each failed attempt; whoever asks after it gave up makes it begin anew, without a pause.
_RECONNECT_S = 3.0


class Database:
    """A pool of connections. Every block is one transaction; errors of the database leave it as ours."""

    def __init__(self, pool: AsyncConnectionPool[Connection]) -> None:
        self._pool = pool

    @classmethod
    async def open(
        cls, dsn: str, *, min_size: int = 1, max_size: int = 10, timeout_ms: int = 10_000, prepare: bool = True
    ) -> Self:
        """Connect. ``prepare=False`` is for poolers that lose prepared statements. Raises UnavailableError."""
        pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            dsn,
            connection_class=Connection,
            min_size=min_size,
            max_size=max_size,
            timeout=timeout_ms / 1000,
            reconnect_timeout=_RECONNECT_S,
            # Automatic preparation is off: it would drop the connection's own prepared statements at a rollback.
            kwargs={"autocommit": True, "row_factory": dict_row, "prepare_threshold": None},
            configure=partial(_configure, prepare=prepare),
            open=False,
        )
        try:
            with translated():
                await _open(pool, dsn, timeout_ms)
        except BaseException:
            await pool.close()
            raise
        return cls(pool)

    async def close(self) -> None:
        """Give all connections back."""
        await self._pool.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @asynccontextmanager
    async def tenant(self, tenant: str) -> AsyncIterator[Connection]:
        """A transaction that sees one tenant."""
        async with self._transaction(_begin(tenant, scans="on")) as connection:
            yield connection

    @asynccontextmanager
    async def system(self) -> AsyncIterator[Connection]:
        """A transaction that sees all tenants: leases, reaper, keys, policies."""
        async with self._transaction(_begin(None, scans="on")) as connection:
            yield connection

    @asynccontextmanager
    async def login(self) -> AsyncIterator[Connection]:
        """A transaction with the rights of the login itself, which may be none."""
        async with self._transaction() as connection:
            yield connection

    async def execute(self, steps: Sequence[Step], *, tenant: str | None = None) -> list[Rows]:
        """Run ``steps`` as one transaction in one round trip; the rows of each. Without ``tenant``: as the system.

        They are for statements that find few rows by their keys. An error in any step undoes all of them.
        """
        with translated():
            async with self._connection() as connection:
                results = await _whole(connection, (_BEGIN, _begin(tenant, scans="off"), *steps, _COMMIT))
        return results[2:-1]

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        connection = await self._pool.getconn()
        while _gone(connection):
            try:
                await connection.close()
            finally:
                await self._pool.putconn(connection)
            connection = await self._pool.getconn()
        try:
            yield connection
        finally:
            await self._pool.putconn(connection)

    @asynccontextmanager
    async def _transaction(self, *session: Step) -> AsyncIterator[Connection]:
        with translated():
            async with self._connection() as connection:
                try:
                    await connection.run((_BEGIN, *session))
                    yield connection
                except BaseException:
                    await connection.roll_back()
                    raise
                if connection.info.transaction_status is TransactionStatus.INERROR:
                    await connection.roll_back()
                    raise LedgerError("a failed statement was ignored, so nothing was stored")
                await connection.run((_COMMIT,))


def _begin(tenant: str | None, *, scans: Literal["on", "off"]) -> Step:
    """The start of a transaction that sees one tenant, or all of them."""
    if tenant is None:
        return step("session", "begin_system", scans=scans)
    return step("session", "begin_tenant", tenant=tenant, scans=scans)


async def _configure(connection: Connection, *, prepare: bool) -> None:
    """One type for all integers: otherwise each mixture of small and large numbers is a prepared statement of its own."""
    connection.prepares = prepare
    connection.adapters.register_dumper(int, Int8Dumper)


async def _whole(connection: Connection, steps: Sequence[Step]) -> list[Rows]:
    """A whole transaction; once more if it failed only because of what was prepared."""
    try:
        return await _run_or_undo(connection, steps)
    except StaleStatementError:
        return await _run_or_undo(connection, steps)


async def _run_or_undo(connection: Connection, steps: Sequence[Step]) -> list[Rows]:
    try:
        return await connection.run(steps)
    except BaseException:
        await connection.roll_back()
        raise


def _gone(connection: Connection) -> bool:
    """An idle connection has nothing to say; if it does, the server said farewell. Costs no round trip."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


async def _open(pool: AsyncConnectionPool[Connection], dsn: str, timeout_ms: int) -> None:
    """Open the pool; where it cannot, the reason of one connection says more than the pool does."""
    try:
        await pool.open(wait=pool.min_size > 0, timeout=timeout_ms / 1000)
    except PoolTimeout:
        connection = await Connection.connect(dsn)
        await connection.close()
        raise
