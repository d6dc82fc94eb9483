"""Who follows a run: an in-process channel per run that this process drives, fed with stored facts and passing text."""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeAlias

from toolorchestra.core.chat import DeltaKind
from toolorchestra.core.loop.facts import Ended, Parked
from toolorchestra.core.loop.journal import Stamped

MAX_BEHIND: Final = 4_096  # a follower this far behind loses passing text, never facts


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of text that is not stored."""

    kind: DeltaKind
    text: str


@dataclass(frozen=True, slots=True)
class Superseded:
    """The text that passed for this turn until now counts no more: another attempt at it begins."""

    turn: int
    attempt: int


Passing: TypeAlias = Delta | Superseded
Item: TypeAlias = Stamped | Passing


def passing(payload: bytes) -> Passing | None:
    """What passes by in a signal; None for a signal that only says "look again"."""
    try:
        body = json.loads(payload or b"{}")
        if "superseded" in body:
            return Superseded(body["superseded"]["turn"], body["superseded"]["attempt"])
        return Delta(DeltaKind(body["delta"]), body["text"])
    except (ValueError, KeyError, TypeError):
        return None


def rests(item: Item) -> bool:
    """Whether nothing follows this item until somebody acts."""
    return isinstance(item, Stamped) and isinstance(item.fact, Ended | Parked)


class Channel:
    """The facts of one run so far, and its followers."""

    def __init__(self) -> None:
        self.facts: list[Stamped] = []
        self._queues: set[asyncio.Queue[Item | None]] = set()
        self._closed = False

    @property
    def followers(self) -> int:
        return len(self._queues)

    def publish(self, items: Sequence[Item]) -> None:
        """Tell all followers."""
        for item in items:
            if isinstance(item, Stamped):
                self.facts.append(item)
            for queue in self._queues:
                if isinstance(item, Stamped) or queue.qsize() < MAX_BEHIND:
                    queue.put_nowait(item)

    def close(self) -> None:
        """The process stops driving the run."""
        self._closed = True
        for queue in self._queues:
            queue.put_nowait(None)

    async def follow(self, after: int = 0) -> AsyncGenerator[Item, None]:
        """Facts after ``after``, then everything as it happens, until the run rests or the process lets go of it."""
        queue: asyncio.Queue[Item | None] = asyncio.Queue()
        self._queues.add(queue)
        try:
            stored = [s for s in self.facts if s.seq > after]
            resting = self._closed or (bool(self.facts) and rests(self.facts[-1]))
            for item in stored:
                yield item
            if resting:
                return
            while (new := await queue.get()) is not None:
                yield new
                if rests(new):
                    return
        finally:
            self._queues.discard(queue)


class Hub:
    """The channels of the runs that this process drives."""

    def __init__(self) -> None:
        self._channels: dict[str, Channel] = {}

    def open(self, run_id: str, facts: Sequence[Stamped] = ()) -> Channel:
        """A new channel for a run that this process begins to drive; ``facts`` are those stored before.

        Who still follows an earlier one is told that it ended, and looks again.
        """
        self.close(run_id)
        channel = Channel()
        channel.facts.extend(facts)
        self._channels[run_id] = channel
        return channel

    def get(self, run_id: str) -> Channel | None:
        return self._channels.get(run_id)

    def close(self, run_id: str) -> None:
        """The run is no longer driven here."""
        with suppress(KeyError):
            self._channels.pop(run_id).close()
