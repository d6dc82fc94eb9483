"""What a route policy does where its training never was: prices turned over under new names, and opposite preferences."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import count, islice
from typing import Any, Final

from toolorchestra.training.grpo.gating import AT_ONCE, RouteScore, play_greedily
from toolorchestra.training.grpo.rollouts import Engine, Seat
from toolorchestra.training.grpo.tiny.routes import CHEAP, PLAIN, QUICK, Draw, Family, Kind, RouteTask, Wish
from toolorchestra.training.grpo.tiny.staging import oracle, scene_of

TASKS: Final = 200
EXPERT_TASKS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Probes:
    """``flipped_best_route``: where an expert of rare things is the cheapest that knows a common one. Ratios: what is spent
    when asked to be quick over what is spent on the same tasks when asked to be cheap; ``solved_gap`` between the two.
    """

    tasks: int
    flipped_best_route: float
    cost_ratio: float
    oracle_cost_ratio: float
    solved_gap: float

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    def sentence(self) -> str:
        """In words."""
        return (
            f"prices turned over: {self.flipped_best_route:.1%} by the best route; quick over cheap costs "
            f"{self.cost_ratio:.2f} times (the oracle {self.oracle_cost_ratio:.2f}), solved {self.solved_gap:.1%} apart"
        )


def probe(engine: Engine, seed: int, tasks: int = TASKS) -> Probes:
    """Play so many unseen tasks three times, greedily."""
    cheap, quick = (_score(engine, _wished(seed, tasks, wish)) for wish in (CHEAP, QUICK))
    flipped = _score(engine, list(islice(_flipped(seed), tasks)))
    return Probes(
        tasks=tasks,
        flipped_best_route=flipped.best_route,
        cost_ratio=quick.cost_nano_usd / max(1.0, cheap.cost_nano_usd),
        oracle_cost_ratio=quick.oracle_cost_nano_usd / cheap.oracle_cost_nano_usd,
        solved_gap=abs(quick.solved - cheap.solved),
    )


def expert_share(engine: Engine, draw: Draw, tasks: int = EXPERT_TASKS) -> float:
    """How many of so many tasks are given to an expert of rare things first, at temperature 1."""
    drawn = [draw.task(number) for number in range(tasks)]
    seats = [Seat(scene_of(task), seed=number) for number, task in enumerate(drawn)]
    parts = [seats[start : start + AT_ONCE] for start in range(0, tasks, AT_ONCE)]
    episodes = [episode for part in parts for episode in asyncio.run(engine.play(part))]
    asked = [task.card(episode.first_call or "") for task, episode in zip(drawn, episodes, strict=True)]
    return sum(card is not None and card.family is Family.RARE for card in asked) / tasks


def _score(engine: Engine, tasks: Sequence[RouteTask]) -> RouteScore:
    return RouteScore.of(tasks, play_greedily(engine, tasks))


def _wished(seed: int, tasks: int, wish: Wish) -> list[RouteTask]:
    draw = Draw(seed, held_out=True, wishes=(wish,))
    return [draw.task(number) for number in range(tasks)]


def _flipped(seed: int) -> Iterator[RouteTask]:
    draw = Draw(seed, held_out=True, flipped=1.0, wishes=(PLAIN,))
    for task in map(draw.task, count()):
        if task.kind is Kind.COMMON and oracle(task).family is Family.RARE and _has(task, Family.COMMON):
            yield task


def _has(task: RouteTask, family: Family) -> bool:
    return any(card.family is family for card in task.cards)
