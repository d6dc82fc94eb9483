"""Patience: as long as it is worth it, and no longer."""

import asyncio
import time

import pytest

from toolorchestra.core.errors import InvalidRequestError, UnavailableError
from toolorchestra.worker.services.retrying import retrying


class Flaky:
    """Fails a number of times."""

    def __init__(self, failures: int, error: Exception | None = None) -> None:
        self.tries = 0
        self._failures = failures
        self._error = error or UnavailableError("away")

    async def __call__(self) -> str:
        self.tries += 1
        if self.tries <= self._failures:
            raise self._error
        return "done"


async def test_it_goes_on_until_it_works():
    action = Flaky(3)

    assert await retrying(action, "test", patience_ms=10_000, stop=asyncio.Event()) == "done"
    assert action.tries == 4


async def test_patience_ends():
    began = time.monotonic()

    with pytest.raises(UnavailableError):
        await retrying(Flaky(10_000), "test", patience_ms=200, stop=asyncio.Event())

    assert 0.15 < time.monotonic() - began < 2


async def test_what_will_not_get_better_is_not_repeated():
    action = Flaky(1, InvalidRequestError("no"))

    with pytest.raises(InvalidRequestError):
        await retrying(action, "test", patience_ms=10_000, stop=asyncio.Event())

    assert action.tries == 1


async def test_a_stop_ends_the_waiting():
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.1, stop.set)

    with pytest.raises(UnavailableError):
        async with asyncio.timeout(3):
            await retrying(Flaky(10_000), "test", patience_ms=60_000, stop=stop)


async def test_without_patience_there_is_one_try():
    action = Flaky(1)

    with pytest.raises(UnavailableError):
        await retrying(action, "test", patience_ms=-5, stop=asyncio.Event())

    assert action.tries == 1
