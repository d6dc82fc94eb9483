"""Signals on their way out: posting never waits, one task sends them in order. They are best effort, so a full box drops."""

import asyncio
from typing import Final

from toolorchestra.kit.signals import SignalBus

MOST: Final = 8_192


class Outbox:
    """One per process."""

    def __init__(self, signals: SignalBus) -> None:
        self._signals = signals
        self._waiting: asyncio.Queue[tuple[str, str]] = asyncio.Queue(MOST)

    def post(self, channel: str, payload: str) -> None:
        """Send soon; nobody waits for it."""
        if not self._waiting.full():
            self._waiting.put_nowait((channel, payload))

    async def run_forever(self) -> None:
        """Send what was posted, until cancelled."""
        while True:
            await self._signals.publish(*await self._waiting.get())
