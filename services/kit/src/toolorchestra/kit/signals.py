"""Signals: short messages that say "look again", over a channel that may lose them.

Nothing depends on a signal but speed: what it speaks of is in the database, and whoever waits also looks now and then. So
publishing never raises and never waits long, and without a configured URL ``NullSignals`` stands in. ``valkey_signals`` has
the real bus and ``open_signals``, which chooses; ``testing`` has one inside the process.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final, Protocol, Self

MAX_WAITING: Final = 1024  # signals kept for a reader that is behind; older ones are dropped


@dataclass(frozen=True, slots=True)
class Signal:
    """One message. ``gap`` marks one that nobody sent: signals may have been lost here, so look again."""

    channel: str
    payload: bytes = b""
    gap: bool = False


class Subscription:
    """The signals of some channels, one after the other."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[Signal] = asyncio.Queue(MAX_WAITING)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Signal:
        return await self._waiting.get()

    async def next(self, timeout_ms: int) -> Signal | None:
        """The next signal, or None when there is none in time."""
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                return await self._waiting.get()
        except TimeoutError:
            return None

    def deliver(self, signal: Signal) -> None:
        """Hand over a signal; never waits."""
        if self._waiting.full():
            self._waiting.get_nowait()
        self._waiting.put_nowait(signal)


class SignalBus(Protocol):
    """Publishes and receives signals."""

    async def publish(self, channel: str, payload: bytes | str = b"") -> None:
        """Send a signal to whoever listens now. Never raises; returns within about a second."""
        ...

    def subscribe(self, *channels: str) -> AbstractAsyncContextManager[Subscription]:
        """Listen to channels as long as the block lasts; a name with ``*`` is a pattern.

        Inside the block signals are being received, unless the server is away: then a ``gap`` tells when it is back.
        """
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...


class NullSignals:
    """Stands in where no signal channel is configured: nothing is sent and nothing arrives."""

    async def publish(self, channel: str, payload: bytes | str = b"") -> None: ...

    @asynccontextmanager
    async def subscribe(self, *_channels: str) -> AsyncIterator[Subscription]:
        yield Subscription()

    async def close(self) -> None: ...


def is_pattern(channel: str) -> bool:
    """Whether a channel's name stands for many."""
    return "*" in channel


class Listeners:
    """Who listens to what in this process."""

    def __init__(self) -> None:
        self._by_channel: defaultdict[str, set[Subscription]] = defaultdict(set)

    def add(self, subscription: Subscription, channels: Sequence[str]) -> None:
        """Note that a subscription listens to channels and patterns."""
        for channel in channels:
            self._by_channel[channel].add(subscription)

    def remove(self, subscription: Subscription, channels: Sequence[str]) -> list[str]:
        """Forget a subscription; returns the channels that nobody listens to any more."""
        for channel in channels:
            self._by_channel[channel].discard(subscription)
        unused = [channel for channel in set(channels) if not self._by_channel[channel]]
        for channel in unused:
            del self._by_channel[channel]
        return unused

    def channels(self) -> list[str]:
        """Channels and patterns that somebody listens to."""
        return list(self._by_channel)

    def deliver(self, subscribed: str, signal: Signal) -> None:
        """Hand a signal to those who listen to this channel or pattern."""
        for subscription in tuple(self._by_channel.get(subscribed, ())):
            subscription.deliver(signal)
