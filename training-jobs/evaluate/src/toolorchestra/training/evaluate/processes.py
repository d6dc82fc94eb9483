"""Plays episodes in several processes: each reads the plan for itself and is told numbers of episodes, nothing else.

Whatever the number of processes, the records are the same: an episode depends on the plan alone.
"""

import asyncio
import gc
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from types import TracebackType
from typing import Final, Self

from typing_extensions import override

from toolorchestra.core.errors import UnavailableError
from toolorchestra.training.evaluate.beside import deaf_to_ctrl_c, end_with_parent
from toolorchestra.training.evaluate.episodes import entries_of
from toolorchestra.training.evaluate.judging import make_jury
from toolorchestra.training.evaluate.keys import Circumstances
from toolorchestra.training.evaluate.memory import MemoryPlayer
from toolorchestra.training.evaluate.plan import EvaluationPlan
from toolorchestra.training.evaluate.records import Episode
from toolorchestra.training.evaluate.running import Job, Player
from toolorchestra.training.evaluate.staging import stage_plan
from toolorchestra.training.evaluate.training import Choices

BATCH: Final = 24  # episodes that a process is handed at once


@dataclass(slots=True)
class _Process:
    """What a process keeps between batches."""

    player: MemoryPlayer | None = None


_PROCESS: Final = _Process()


class ProcessPlayer(Player):
    """``with ProcessPlayer(plan, choices, width, around) as player``: so many processes, started when they are needed."""

    batch = BATCH

    def __init__(self, plan: EvaluationPlan, choices: Mapping[str, Choices], width: int, around: Circumstances) -> None:
        self.width = width
        given = (plan.model_dump_json(), dict(choices), around)
        self._pool = ProcessPoolExecutor(width, mp_context=get_context("spawn"), initializer=_begin, initargs=given)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.shutdown(wait=error is None, cancel_futures=True)

    @override
    async def play(self, jobs: Sequence[Job]) -> Sequence[Episode]:
        """Raises UnavailableError when a process died."""
        loop = asyncio.get_running_loop()
        try:
            with deaf_to_ctrl_c():  # the pool starts a process here where one is missing
                playing = loop.run_in_executor(self._pool, _play, [job.number for job in jobs])
            lines = await playing
        except BrokenProcessPool as error:
            raise UnavailableError(
                "a process that played episodes was ended from outside",
                hint="start it again: what is recorded is kept; with little memory set limits.parallel to 1",
            ) from error
        return [Episode.model_validate_json(line) for line in lines]


def _begin(plan_json: str, choices: Mapping[str, Choices], around: Circumstances) -> None:
    end_with_parent()
    plan = EvaluationPlan.model_validate_json(plan_json)
    staged = stage_plan(plan)
    _PROCESS.player = MemoryPlayer(staged, make_jury(staged), entries_of(staged, around), choices)
    gc.freeze()  # what was staged stays to the end; looking through it again and again takes a fifth of the time


def _play(numbers: Sequence[int]) -> list[str]:
    player = _PROCESS.player
    if player is None:
        raise UnavailableError("the process has no plan")
    jobs = [player.entries[number].job for number in numbers]
    return [episode.model_dump_json() for episode in asyncio.run(player.play(jobs))]
