"""A scene: everything that the episodes of one task share, so that the rollout engine need not know where tasks come from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from toolorchestra.core.calls import Executor
from toolorchestra.core.loop.facts import Opened
from toolorchestra.core.loop.state import State
from toolorchestra.core.revision import Revision
from toolorchestra.core.rewards.episodes import EpisodeOutcome
from toolorchestra.core.rewards.yardstick import Yardstick
from toolorchestra.worlds.playing import User


@dataclass(frozen=True, slots=True)
class Scene:
    """One task with its tools, prices and wish, pinned: what every episode of a group is opened with.

    ``executor`` makes the calls of one episode, ``judge`` says how an ended run came out. ``explorable`` are the functions
    that exploration may force.
    """

    id: str
    revision: Revision
    opened: Opened
    executor: Callable[[], Executor]
    judge: Callable[[State], EpisodeOutcome]
    yardstick: Yardstick
    explorable: tuple[str, ...]
    user: User | None = None  # who answers calls of the client's own tools


class Source(Protocol):
    """Where scenes come from. The same number always gives the same scene, in every process."""

    def __len__(self) -> int:
        """How many tasks there are."""
        ...

    def scene(self, number: int) -> Scene:
        """Task ``number`` with its tools and prices as drawn for it."""
        ...
