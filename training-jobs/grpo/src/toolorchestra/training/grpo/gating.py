"""The gate: a checkpoint against an oracle on tasks that no training has seen, greedily, in solved tasks and dollars.

Never on the reward: a policy that always asks the expert may have a high one. This is the gate of route tasks, and what any
gate is.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol, TypeVar

from typing_extensions import override

from toolorchestra.core.money import parse_usd
from toolorchestra.training.grpo.rollouts import Engine, Episode, Seat
from toolorchestra.training.grpo.scenes import Scene
from toolorchestra.training.grpo.settings import GateSettings
from toolorchestra.training.grpo.tiny.routes import Draw, RouteTask
from toolorchestra.training.grpo.tiny.staging import oracle, scene_of, worths

AT_ONCE: Final = 100
EQUAL: Final = 1e-9


class Score(Protocol):
    """What a policy came to on unseen tasks."""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        ...

    def sentence(self) -> str:
        """In words."""
        ...


S = TypeVar("S", bound=Score)


class Gate(Protocol[S]):
    """What a checkpoint must pass to be published."""

    def score(self, engine: Engine) -> S:
        """Play unseen tasks greedily."""
        ...

    def failures(self, score: S) -> list[str]:
        """Why a score does not pass; empty if it does."""
        ...


@dataclass(frozen=True, slots=True)
class RouteScore:
    """What a policy came to on tasks, greedily.

    ``cost_over_oracle`` is a ratio of sums; ``best_route`` the share of tasks whose first call was worth as much as the
    oracle's; ``routes`` the families of first calls; money in nano-USD a task.
    """

    tasks: int
    solved: float
    oracle_solved: float
    cost_nano_usd: float
    oracle_cost_nano_usd: float
    cost_over_oracle: float
    best_route: float
    routes: dict[str, int]

    @classmethod
    def of(cls, tasks: Sequence[RouteTask], episodes: Sequence[Episode]) -> "RouteScore":
        spent = sum(episode.rollout.cost_nano_usd for episode in episodes)
        due = sum(parse_usd(oracle(task).usd) for task in tasks)
        return cls(
            tasks=len(tasks),
            solved=sum(episode.rollout.right for episode in episodes) / len(tasks),
            oracle_solved=1.0,  # some tool always knows
            cost_nano_usd=spent / len(tasks),
            oracle_cost_nano_usd=due / len(tasks),
            cost_over_oracle=spent / due,
            best_route=sum(_is_best(*pair) for pair in zip(tasks, episodes, strict=True)) / len(tasks),
            routes=dict(Counter(_family(*pair) for pair in zip(tasks, episodes, strict=True))),
        )

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    def sentence(self) -> str:
        """In words."""
        return (
            f"{self.solved:.1%} of {self.tasks} unseen tasks solved at {self.cost_over_oracle:.2f} times the oracle's cost, "
            f"{self.best_route:.1%} by the best route"
        )


@dataclass(frozen=True, slots=True)
class RouteGate(Gate[RouteScore]):
    """On route tasks that are held out."""

    settings: GateSettings

    @override
    def score(self, engine: Engine) -> RouteScore:
        return route_score(engine, Draw(self.settings.seed, held_out=True), self.settings.tasks)

    @override
    def failures(self, score: RouteScore) -> list[str]:
        return failures(score, self.settings)


def route_score(engine: Engine, draw: Draw, count: int) -> RouteScore:
    """Play ``count`` tasks of a draw greedily."""
    tasks = [draw.task(number) for number in range(count)]
    return RouteScore.of(tasks, play_greedily(engine, tasks))


def play_greedily(engine: Engine, tasks: Sequence[RouteTask]) -> list[Episode]:
    """One episode per task at temperature 0."""
    return played(engine, [scene_of(task, temperature=0.0) for task in tasks])


def played(engine: Engine, scenes: Sequence[Scene]) -> list[Episode]:
    """One episode per scene, so many at once."""
    parts = [scenes[start : start + AT_ONCE] for start in range(0, len(scenes), AT_ONCE)]
    return [episode for part in parts for episode in asyncio.run(engine.play([Seat(scene) for scene in part]))]


def failures(score: RouteScore, gate: GateSettings) -> list[str]:
    """Why a score does not pass; empty if it does."""
    least, most = score.oracle_solved - gate.solved_below_oracle, gate.cost_over_oracle
    found = []
    if score.solved < least:
        found.append(f"it solved {score.solved:.1%} of {score.tasks} unseen tasks, and {least:.1%} are needed")
    if score.cost_over_oracle > most:
        found.append(f"it cost {score.cost_over_oracle:.2f} times what the oracle does, and {most:.2f} are allowed")
    return found


def _is_best(task: RouteTask, episode: Episode) -> bool:
    worth = worths(task)
    return worth.get(episode.first_call or "", 0.0) >= worth[oracle(task).name] - EQUAL


def _family(task: RouteTask, episode: Episode) -> str:
    card = task.card(episode.first_call or "")
    return card.family.value if card is not None else "none"
