"""Telling the platform which isolation code gets here, for as long as this sandbox worker takes calls.

It is told by the parent, on the timer of its own loop, because its children may all be busy for minutes. Between two times
the parent has neither a connection nor a thread, which the children that it forks would share.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog

from toolorchestra.core.errors import ToolOrchestraError
from toolorchestra.core.sandbox import SandboxFindings
from toolorchestra.ledger import sandboxes
from toolorchestra.ledger.database import Database

LIVES: Final = 3  # a report outlives so many intervals, so that two may fail
CONNECT_MS: Final = 2_000
TIMEOUT_S: Final = 3.0  # the parent does nothing else meanwhile

logger = structlog.get_logger(__name__)


class SandboxReporter:
    """Writes one worker's report. A database that is away is no fault here: the report expires, and is written anew."""

    def __init__(self, database_url: str, worker: str, findings: SandboxFindings, *, interval_s: float) -> None:
        self._database_url = database_url
        self._worker = worker
        self._findings = findings
        self._interval_s = interval_s

    def start(self, consumer: Any) -> None:
        """Tell now, and then at intervals on the timer of the worker's loop; ``consumer`` is Celery's."""
        self.tell()
        consumer.timer.call_repeatedly(self._interval_s, self.tell)

    def tell(self) -> None:
        """Say that the worker lives, and what it found."""
        life_ms = round(LIVES * self._interval_s * 1_000)
        self._try(lambda database: sandboxes.put(database, self._worker, self._findings, life_ms=life_ms))

    def withdraw(self) -> None:
        """Say that the worker ends."""
        self._try(lambda database: sandboxes.withdraw(database, self._worker))

    def _try(self, write: Callable[[Database], Coroutine[Any, Any, None]]) -> None:
        try:
            asyncio.run(self._write(write))
        except (ToolOrchestraError, TimeoutError) as error:
            logger.warning("sandbox_not_reported", reason=str(error) or "the database did not answer")

    async def _write(self, write: Callable[[Database], Coroutine[Any, Any, None]]) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            async with await Database.open(self._database_url, max_size=1, timeout_ms=CONNECT_MS) as database:
                await write(database)
