"""Plays what is not recorded yet, and stops where the plan says: every episode is on disk before the next one is counted.

Who plays is a ``Player``: this process, several processes, or a platform. What is interrupted is gone on with from the file.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol, TypeAlias

from toolorchestra.core.money import format_usd
from toolorchestra.training.evaluate.plan import Limits
from toolorchestra.training.evaluate.records import Episode, ErrorKind, Recorded, RecordFile

Progress: TypeAlias = Callable[[Episode, int, int], None]  # the newest, how many are recorded, how many are planned
Clock: TypeAlias = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Job:
    """One episode to play: ``number`` is its place in the plan, ``key`` names its whole content."""

    number: int
    key: str
    suite: str
    policy: str


class Player(Protocol):
    """Plays episodes. What goes wrong in one is in its record; it raises only when nothing can be played at all."""

    batch: int  # how many it wants at once
    width: int  # how many batches it plays side by side

    async def play(self, jobs: Sequence[Job]) -> Sequence[Episode]:
        """The records of these jobs."""
        ...


@dataclass(slots=True)
class _Brake:
    """Watches money, time and failures; ``reason`` says why it must stop."""

    limits: Limits
    clock: Clock
    spent_nano_usd: int
    began: float = 0.0
    failed: int = 0
    reason: str | None = None

    def take(self, episode: Episode) -> None:
        self.spent_nano_usd += episode.cost_nano_usd
        self.failed = self.failed + 1 if episode.error is ErrorKind.ENVIRONMENT else 0
        if self.failed >= self.limits.failures:
            self.reason = f"{self.failed} episodes in a row failed through their environment: {episode.error_message}"

    def due(self) -> bool:
        """Whether nothing new may begin."""
        most = self.limits.nano_usd
        if self.reason is None and most is not None and self.spent_nano_usd >= most:
            self.reason = f"the budget of {format_usd(most)} USD is spent"
        minutes = self.limits.minutes
        if self.reason is None and minutes is not None and self.clock() - self.began >= minutes * 60:
            self.reason = f"the time of {minutes:g} minutes is up"
        return self.reason is not None


@dataclass(frozen=True, slots=True)
class Runner:
    """Plays jobs into a file of records."""

    player: Player
    limits: Limits
    progress: Progress = field(default=lambda *_: None)
    clock: Clock = monotonic

    async def run(self, jobs: Sequence[Job], file: RecordFile) -> Recorded:
        """Everything that is recorded of these jobs in the end; ``stopped`` is set when that is not all.

        Interrupting it (a cancelled task) marks the file and passes the interruption on.
        """
        wanted = {job.key for job in jobs}
        missing = [job for job in jobs if job.key not in file]
        brake = _Brake(self.limits, self.clock, _spent(file, wanted), began=self.clock())
        try:
            await self._all(missing, file, brake, planned=len(jobs))
        except BaseException as error:  # noqa: BLE001 - whatever ends it is marked in the file and passed on
            first = _first(error)
            file.stop(f"it was interrupted: {type(first).__name__}: {first}".rstrip(": "), planned=len(jobs))
            raise first from None
        return _close(file, jobs, wanted, brake)

    async def _all(self, missing: Sequence[Job], file: RecordFile, brake: _Brake, *, planned: int) -> None:
        size = self.player.batch
        batches = iter([missing[start : start + size] for start in range(0, len(missing), size)])
        async with asyncio.TaskGroup() as group:
            for _ in range(self.player.width):
                group.create_task(self._some(batches, file, brake, planned))

    async def _some(self, batches: Iterator[Sequence[Job]], file: RecordFile, brake: _Brake, planned: int) -> None:
        while not brake.due() and (batch := next(batches, None)) is not None:
            for episode in await self.player.play(batch):
                file.append(episode)
                brake.take(episode)
                self.progress(episode, len(file.episodes), planned)


def _first(error: BaseException) -> BaseException:
    """What went wrong first of what went wrong side by side."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _spent(file: RecordFile, wanted: set[str]) -> int:
    """Money of episodes that are recorded already: a limit holds for the whole plan, however often it is started."""
    return sum(episode.cost_nano_usd for episode in file.episodes if episode.key in wanted)


def _close(file: RecordFile, jobs: Sequence[Job], wanted: set[str], brake: _Brake) -> Recorded:
    """The records of this plan; those of earlier plans in the same file stay there and are left out."""
    episodes = tuple(episode for episode in file.episodes if episode.key in wanted)
    if len(episodes) == len(jobs):
        file.finish(planned=len(jobs))
        return Recorded(episodes=episodes)
    stopped = file.stop(brake.reason or "it ended early", planned=len(jobs))
    return Recorded(episodes=episodes, stopped=stopped.model_copy(update={"done": len(episodes)}))
