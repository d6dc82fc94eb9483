"""Stand-ins for the seams of this package, for tests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase

from toolorchestra.kit.signals import Listeners, Signal, Subscription


class MemorySignals:
    """A signal bus inside one process. ``published`` holds all that was sent; ``lose`` acts out a lost connection."""

    def __init__(self) -> None:
        self.published: list[Signal] = []
        self._listeners = Listeners()

    async def publish(self, channel: str, payload: bytes | str = b"") -> None:
        signal = Signal(channel, payload.encode() if isinstance(payload, str) else payload)
        self.published.append(signal)
        for subscribed in self._listeners.channels():
            if fnmatchcase(channel, subscribed):
                self._listeners.deliver(subscribed, signal)

    @asynccontextmanager
    async def subscribe(self, *channels: str) -> AsyncIterator[Subscription]:
        subscription = Subscription()
        self._listeners.add(subscription, channels)
        try:
            yield subscription
        finally:
            self._listeners.remove(subscription, channels)

    def lose(self) -> None:
        """Tell all listeners that signals may have been lost."""
        for channel in self._listeners.channels():
            self._listeners.deliver(channel, Signal(channel, gap=True))

    async def close(self) -> None: ...
