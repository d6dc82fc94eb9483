"""The gate of worlds: held-out tasks, played greedily among experts that no training has seen, against an oracle.

The oracle asks the cheapest expert that is right on the whole task by itself, the strongest where none is; what that takes is
computed, as C* of the rewards is. Bounds are those of a bootstrap over intents.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from random import Random
from statistics import fmean
from typing import Any, Final

from typing_extensions import override

from toolorchestra.core.errors import UnavailableError
from toolorchestra.training.grpo.errors import InvalidRunError
from toolorchestra.training.grpo.gating import Gate, played
from toolorchestra.training.grpo.rollouts import Engine, Episode
from toolorchestra.training.grpo.settings import GateSettings
from toolorchestra.training.grpo.worlds.staging import Stage, WorldScenes
from toolorchestra.worlds.statistics import Drawing, Interval, Part, ratio_of_sums
from toolorchestra.worlds.statistics import Gate as Bounds
from toolorchestra.worlds.tasks import Task

LEAST_CLUSTERS: Final = 40
MOST_LOST: Final = 0.05  # share of episodes that may fail through their environment


@dataclass(frozen=True, slots=True)
class WorldScore:
    """What a policy came to. ``success`` is what it solves beyond the oracle, ``cost_ratio`` its cost over the oracle's.

    Money in nano-USD a task; ``worlds`` are shares solved; ``lost`` episodes failed through their environment.
    """

    tasks: int
    solved: float
    oracle_solved: float
    cost_nano_usd: float
    oracle_cost_nano_usd: float
    success: Interval
    cost_ratio: Interval
    worlds: dict[str, float]
    lost: float

    @classmethod
    def of(cls, stages: Sequence[Stage], episodes: Sequence[Episode], drawing: Drawing) -> "WorldScore":
        counted = [(stage, one.rollout) for stage, one in zip(stages, episodes, strict=True) if one.rollout.counts]
        if not counted:
            raise UnavailableError("no unseen task could be played: each failed through its environment")
        gained = [Part(_cluster(stage.task), rollout.right - stage.solvable) for stage, rollout in counted]
        costs = [
            Part(_cluster(stage.task), rollout.cost_nano_usd, stage.alone(stage.best).cost_nano_usd)
            for stage, rollout in counted
        ]
        return cls(
            tasks=len(counted),
            solved=fmean(rollout.right for _, rollout in counted),
            oracle_solved=fmean(stage.solvable for stage, _ in counted),
            cost_nano_usd=fmean(cost.above for cost in costs),
            oracle_cost_nano_usd=fmean(cost.below for cost in costs),
            success=ratio_of_sums(gained, drawing, name="success"),
            cost_ratio=ratio_of_sums(costs, drawing, name="cost"),
            worlds=_by_world((stage.task.world, rollout.right) for stage, rollout in counted),
            lost=1 - len(counted) / len(stages),
        )

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    def sentence(self) -> str:
        """In words."""
        return (
            f"{self.solved:.1%} of {self.tasks} unseen tasks solved, {self.oracle_solved:.1%} by an oracle, at "
            f"{self.cost_ratio.value or 0:.2f} times its cost"
        )


@dataclass(frozen=True)
class WorldGate(Gate[WorldScore]):
    """Raises InvalidRunError where there are fewer unseen tasks, or kinds of them, than it needs."""

    settings: GateSettings
    scenes: WorldScenes

    def __post_init__(self) -> None:
        tasks, clusters, needed = len(self.scenes), len({_cluster(task) for task in self.scenes.tasks}), self.settings.tasks
        if tasks < needed or clusters < LEAST_CLUSTERS:
            raise InvalidRunError(
                f"gate: {needed} unseen tasks of {LEAST_CLUSTERS} intents are needed, and tasks.folders hold {tasks} of "
                f"{clusters} with one of the tags {', '.join(self.scenes.tags)}",
                param="gate",
                hint="build more tasks or domains, or set gate to null, which publishes nothing",
            )

    @override
    def score(self, engine: Engine) -> WorldScore:
        numbers = sorted(Random(f"gate/{self.settings.seed}").sample(range(len(self.scenes)), self.settings.tasks))
        episodes = played(engine, [self.scenes.scene(number) for number in numbers])
        return WorldScore.of([self.scenes.stage(number) for number in numbers], episodes, Drawing(seed=self.settings.seed))

    @override
    def failures(self, score: WorldScore) -> list[str]:
        # How many there are was checked before anything was played.
        enough = {"min_tasks": 1, "min_clusters": 1}
        limits = Bounds(delta=self.settings.solved_below_oracle, cost_ratio=self.settings.cost_over_oracle, **enough)
        found = list(limits.failures(success=score.success, cost_ratio=score.cost_ratio))
        if score.lost > MOST_LOST:
            found.append(f"{score.lost:.1%} of the episodes failed through their environment, and {MOST_LOST:.0%} may")
        return found


def _cluster(task: Task) -> str:
    return f"{task.world}/{task.intent}"


def _by_world(rights: Iterable[tuple[str, bool]]) -> dict[str, float]:
    found: dict[str, list[bool]] = defaultdict(list)
    for world, right in rights:
        found[world].append(right)
    return {world: fmean(some) for world, some in sorted(found.items())}
