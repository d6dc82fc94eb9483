"""Plays what is not recorded yet, and stops where the plan says: every episode is on disk before the next one is counted.

Who plays is a ``Player``: this process, several processes, or a platform. What is interrupted is gone on with from the file.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol, TypeAlias

from toolorchestra.core.money import NanoUsd, format_usd
from toolorchestra.training.evaluate.plan import Limits
from toolorchestra.training.evaluate.records import Episode, ErrorKind, Recorded, RecordFile
from toolorchestra.training.evaluate.stopping import Told

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
    """Watches money, time and failures; ``reason`` says why it must stop.

    Failures in a row are those of one policy: the others may need nothing of what is broken.
    """

    limits: Limits
    clock: Clock
    spent_nano_usd: NanoUsd
    began: float = 0.0
    failed: Counter[str] = field(default_factory=Counter)
    reason: str | None = None

    def take(self, episode: Episode) -> None:
        self.spent_nano_usd += episode.cost_nano_usd
        if episode.error is not ErrorKind.ENVIRONMENT:
            self.failed[episode.policy] = 0
            return
        self.failed[episode.policy] += 1
        if (count := self.failed[episode.policy]) >= self.limits.failures:
            who = f"{count} episodes of {episode.policy} in a row"
            self.reason = f"{who} failed through their environment: {episode.error_message}"

    @property
    def left_nano_usd(self) -> NanoUsd | None:
        """Money that may still be spent; None: there is no limit."""
        return None if self.limits.nano_usd is None else self.limits.nano_usd - self.spent_nano_usd

    def due(self) -> bool:
        """Whether nothing new may begin."""
        left, minutes = self.left_nano_usd, self.limits.minutes
        if self.reason is None and left is not None and left <= 0:
            self.reason = f"the budget of {format_usd(self.limits.nano_usd or 0)} USD is spent"
        if self.reason is None and minutes is not None and self.clock() - self.began >= minutes * 60:
            self.reason = f"the time of {minutes:g} minutes is up"
        return self.reason is not None


@dataclass(slots=True)
class _Queue:
    """What is left to play, handed out no faster than the money that is left allows.

    An episode is taken to cost what the dearest of its policy did so far. Of a policy that was not seen yet one is played
    first, so that more than a limit is spent only by what nobody could know.
    """

    jobs: deque[Job]
    batch: int
    brake: _Brake
    done: int = 0
    dearest: dict[str, NanoUsd] = field(default_factory=dict)
    under_way: Counter[str] = field(default_factory=Counter)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def next(self) -> list[Job]:
        """What to play next; nothing when all is handed out, or it must stop."""
        while self.jobs and not self.brake.due():
            if batch := self._affordable():
                return batch
            self.changed.clear()
            await self.changed.wait()  # others are under way: what they cost decides
        return []

    def take(self, episode: Episode) -> None:
        """An episode is over."""
        self.done += 1
        self.learn(episode)
        self.brake.take(episode)

    def close(self, batch: Iterable[Job]) -> None:
        """A batch is over."""
        self.under_way.subtract(job.policy for job in batch)
        self.changed.set()

    def learn(self, episode: Episode) -> None:
        """What one of its policy may cost."""
        self.dearest[episode.policy] = max(episode.cost_nano_usd, self.dearest.get(episode.policy, 0))

    def _affordable(self) -> list[Job]:
        found: list[Job] = []
        while self.jobs and len(found) < self.batch and self._fits(self.jobs[0].policy, found):
            found.append(self.jobs.popleft())
            self.under_way[found[-1].policy] += 1
        return found

    def _fits(self, policy: str, batch: Sequence[Job]) -> bool:
        left = self.brake.left_nano_usd
        if left is None or not self.under_way.total():
            return True
        if policy not in self.dearest:
            return not self.under_way[policy] and all(job.policy in self.dearest for job in batch)
        expected = sum(count * self.dearest.get(name, 0) for name, count in self.under_way.items())
        return expected + self.dearest[policy] <= left


@dataclass(frozen=True, slots=True)
class Runner:
    """Plays jobs into a file of records."""

    player: Player
    limits: Limits
    progress: Progress = field(default=lambda *_: None)
    clock: Clock = monotonic
    told: Told = field(default_factory=Told)

    async def run(self, jobs: Sequence[Job], file: RecordFile) -> Recorded:
        """Everything that is recorded of these jobs in the end; ``stopped`` is set when that is not all.

        A cancelled task marks the file and passes that on; being ``told`` to stop is an early end like any other.
        """
        wanted = {job.key for job in jobs}
        missing = deque(job for job in jobs if job.key not in file)
        brake = _Brake(self.limits, self.clock, file.spent_nano_usd(wanted), began=self.clock())
        queue = _Queue(missing, self.player.batch, brake, done=len(jobs) - len(missing))
        for episode in file.of(wanted):
            queue.learn(episode)
        playing = asyncio.ensure_future(self._all(queue, file, planned=len(jobs)))
        self.told.cancels(playing)
        try:
            await playing
        except BaseException as error:  # noqa: BLE001 - whatever ends it is marked in the file and passed on
            first = first_of(error)
            if self.told.by is None:
                reason = f"it was interrupted: {type(first).__name__}: {first}".rstrip(": ")
                file.stop(reason, planned=len(jobs), done=len(file.of(wanted)))
                raise first from None
            brake.reason = f"it was told to stop ({self.told.by.name})"  # which may have ended what plays, too
        return _close(file, jobs, queue)

    async def _all(self, queue: _Queue, file: RecordFile, *, planned: int) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self.player.width):
                group.create_task(self._some(queue, file, planned))

    async def _some(self, queue: _Queue, file: RecordFile, planned: int) -> None:
        while batch := await queue.next():
            for episode in await self.player.play(batch):
                file.append(episode)
                queue.take(episode)
                self.progress(episode, queue.done, planned)
            queue.close(batch)


def first_of(error: BaseException) -> BaseException:
    """What went wrong first of what went wrong side by side."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _close(file: RecordFile, jobs: Sequence[Job], queue: _Queue) -> Recorded:
    """The records of this plan; those of earlier plans in the same file stay there and are left out."""
    episodes = file.of({job.key for job in jobs})
    silent = _silent(jobs, episodes)
    if len(episodes) == len(jobs) and not queue.jobs and not silent:
        file.finish(planned=len(jobs))
        return Recorded(episodes=episodes)
    reason = "; ".join(_reasons(queue.brake.reason, silent, episodes)) or "it ended early"
    return Recorded(episodes=episodes, stopped=file.stop(reason, planned=len(jobs), done=len(episodes)))


def _reasons(first: str | None, silent: Sequence[str], episodes: Sequence[Episode]) -> Iterator[str]:
    """Why it is partial: what stopped it, and which policies nothing is known of."""
    if first:
        yield first
    if silent:
        yield f"no episode of {', '.join(silent)} counts"
    failures = [one.error_message for one in episodes if one.policy in silent and one.error is ErrorKind.ENVIRONMENT]
    if failures and failures[-1] not in (first or ""):
        yield f"the newest failure: {failures[-1]}"


def _silent(jobs: Iterable[Job], episodes: Iterable[Episode]) -> list[str]:
    """Policies of which nothing is known, in the order of the plan."""
    heard = {episode.policy for episode in episodes if episode.counts}
    return [policy for policy in dict.fromkeys(job.policy for job in jobs) if policy not in heard]
