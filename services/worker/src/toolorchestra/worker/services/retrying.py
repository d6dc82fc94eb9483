"""Patience with a database that is away for a moment."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from toolorchestra.core.errors import UnavailableError

T = TypeVar("T")
logger = structlog.get_logger(__name__)

FIRST_S: Final = 0.05
LONGEST_S: Final = 2.0


async def retrying(action: Callable[[], Awaitable[T]], what: str, *, patience_ms: int, stop: asyncio.Event) -> T:
    """Repeat ``action`` with growing pauses while the database is away; each failure is logged.

    Raises the last UnavailableError after ``patience_ms``, or as soon as ``stop`` is set. Anything else is raised at once.
    """
    loop = asyncio.get_running_loop()
    end, pause = loop.time() + patience_ms / 1_000, FIRST_S
    while True:
        try:
            return await action()
        except UnavailableError as error:
            left = end - loop.time()
            logger.warning("database_away", doing=what, reason=str(error), left_s=round(max(left, 0), 1))
            if left <= 0 or stop.is_set():
                raise
            await _pause(min(pause * random.uniform(0.5, 1.5), left), stop)
            pause = min(pause * 2, LONGEST_S)


async def _pause(seconds: float, stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
