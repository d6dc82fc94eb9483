"""Whether the watches still tell what happens: a sign of life per kind, and what counts as one."""

import time
from collections.abc import Callable, Iterable
from typing import Final

SILENT_AFTER_S: Final = 900.0


class Watches:
    """When each watched kind last gave a sign of life: an event, or a list that showed nothing missed."""

    def __init__(self, *, silent_after_s: float = SILENT_AFTER_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._silent_after_s = silent_after_s
        self._clock = clock
        self._heard: dict[str, float] = {}

    def expect(self, kind: str) -> None:
        """From now on this kind is watched."""
        self._heard.setdefault(kind, self._clock())

    def beat(self, kind: str) -> None:
        """A sign of life; of a kind that nothing is expected of it counts for nothing."""
        if kind in self._heard:
            self._heard[kind] = self._clock()

    def silence(self) -> Iterable[tuple[str, float]]:
        """Seconds since the last sign of life, per kind."""
        now = self._clock()
        return [(kind, now - heard) for kind, heard in sorted(self._heard.items())]

    def silent(self) -> list[str]:
        """The kinds that have been silent for too long."""
        return [kind for kind, seconds in self.silence() if seconds > self._silent_after_s]
