"""Told to stop, by Ctrl-C or by whoever ends a process: what is under way is broken off, and what is recorded is reported."""

import asyncio
import threading
from collections.abc import Callable
from signal import SIG_DFL, SIGINT, SIGTERM, Handlers, Signals, raise_signal, signal
from types import FrameType, TracebackType
from typing import Final, Self, TypeAlias

GOES_ON: Final = "it was told to stop: what is recorded is kept, and the same command goes on with it"
_Handler: TypeAlias = Callable[[int, FrameType | None], object] | int | Handlers | None


class Told:
    """While entered, the first SIGINT or SIGTERM cancels the task that plays; ``by`` says which it was.

    A second one does what it would have done without this, and so does one while nothing is played. Only the main thread
    hears signals: elsewhere it is never told.
    """

    def __init__(self) -> None:
        self.by: Signals | None = None
        self._playing: asyncio.Task[None] | None = None
        self._before: dict[Signals, _Handler] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal(number, self._tell) for number in (SIGINT, SIGTERM)}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, before in self._before.items():
            signal(number, SIG_DFL if before is None else before)  # None: one that Python did not set, and cannot
        self._before = {}

    def cancels(self, playing: asyncio.Task[None]) -> None:
        """From now on this is what is broken off."""
        self._playing = playing

    def _tell(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.by is not None or self._playing is None or self._playing.done():
            self.__exit__(None, None, None)
            raise_signal(Signals(number))
            return
        self.by = Signals(number)
        self._playing.cancel()
        self._playing.get_loop().call_soon_threadsafe(lambda: None)  # wakes a loop that waits for what is under way
