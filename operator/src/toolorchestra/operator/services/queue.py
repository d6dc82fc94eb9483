"""What is to be done next: each key at most once at a time, now or later, by a bounded number of workers."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class WorkQueue(Generic[K]):
    """Keys to handle. A key that is added again while it is handled is handled once more after."""

    def __init__(self) -> None:
        self._ready: asyncio.Queue[K] = asyncio.Queue()
        self._waiting: dict[K, float] = {}  # in the queue, since when
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._active: set[K] = set()
        self._again: set[K] = set()

    def add(self, key: K, *, after_ms: int = 0) -> None:
        """Handle ``key`` after a time; an earlier appointment stands, a later one is dropped."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        due = loop.time() + after_ms / 1_000
        if timer is not None and timer.when() <= due:
            return
        if timer is not None:
            timer.cancel()
            del self._timers[key]
        if after_ms <= 0:
            self._push(key)
        elif key not in self._waiting:
            self._timers[key] = loop.call_at(due, self._due, key)

    def forget(self, key: K) -> None:
        """Drop the appointment of ``key``."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    @property
    def depth(self) -> int:
        """Keys that are due and not yet taken."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Whether nothing is due or under way."""
        return not self._waiting and not self._active

    def oldest_s(self) -> float:
        """How long the key that waits longest has waited, in seconds."""
        return asyncio.get_running_loop().time() - min(self._waiting.values()) if self._waiting else 0.0

    async def work(self, handle: Callable[[K], Awaitable[None]]) -> None:
        """Handle keys one after the other, for ever; run several of these."""
        while True:
            key = await self._ready.get()
            del self._waiting[key]
            self._active.add(key)
            try:
                await handle(key)
            finally:
                self._active.discard(key)
                if key in self._again:
                    self._again.discard(key)
                    self._push(key)

    def _due(self, key: K) -> None:
        del self._timers[key]
        self._push(key)

    def _push(self, key: K) -> None:
        if key in self._active:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting[key] = asyncio.get_running_loop().time()
            self._ready.put_nowait(key)
