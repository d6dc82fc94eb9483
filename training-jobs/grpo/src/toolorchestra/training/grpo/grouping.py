"""From tasks to scored groups: seats with exploration, episodes, rewards and advantages of each group."""

import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import fsum, log
from random import Random
from typing import Final

from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.core.rewards.forms import Form
from toolorchestra.core.rewards.groups import EXPLORED_SHARE, GroupScore, explored_first_tools, score_group
from toolorchestra.training.grpo.rollouts import Engine, Episode, Seat
from toolorchestra.training.grpo.scenes import Scene, Source

NANO: Final = 1_000_000_000  # per US dollar, for people


@dataclass(frozen=True, slots=True)
class Group:
    """All episodes of one task, and what they teach."""

    scene: Scene
    episodes: tuple[Episode, ...]
    score: GroupScore


@dataclass(frozen=True, slots=True)
class Grouping:
    """Plays groups of ``size`` episodes. ``explored``: the share of episodes whose first tool is drawn."""

    source: Source
    engine: Engine
    size: int
    seed: int
    form: Form = Form.REFERENCE
    explored: float = EXPLORED_SHARE

    async def play(self, numbers: Sequence[int], *, step: int) -> list[Group]:
        """One group per task number. The same seed, step and weights give the same seats."""
        self.engine.backend.begin(step)
        scenes = [self.source.scene(number) for number in numbers]
        seats = [seat for scene in scenes for seat in self._seats(scene, step)]
        episodes = await self.engine.play(seats)
        parts = [tuple(episodes[start : start + self.size]) for start in range(0, len(episodes), self.size)]
        return [self._group(scene, part) for scene, part in zip(scenes, parts, strict=True)]

    def _seats(self, scene: Scene, step: int) -> list[Seat]:
        seed = zlib.crc32(f"{self.seed}/{step}/{scene.id}".encode())
        drawn = explored_first_tools(seed, self.size, scene.explorable, share=self.explored)
        return [Seat(scene, one, zlib.crc32(f"{seed}/{place}".encode())) for place, one in enumerate(drawn)]

    def _group(self, scene: Scene, episodes: tuple[Episode, ...]) -> Group:
        score = score_group([episode.rollout for episode in episodes], scene.yardstick, form=self.form)
        return Group(scene, episodes, score)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Which tasks a step plays: all of ``count`` in a drawn order, then all again in another.

    It follows from the step alone, so a run that goes on from a checkpoint neither skips a task nor plays one twice.
    """

    count: int
    seed: int

    def tasks(self, step: int, groups: int, *, rank: int = 0, ranks: int = 1) -> list[int]:
        """The task numbers of one device's groups in a step."""
        first = (step * ranks + rank) * groups
        return [self._task(*divmod(place, self.count)) for place in range(first, first + groups)]

    def _task(self, round_: int, place: int) -> int:
        return _order(self.count, f"{self.seed}/{round_}")[place]


@lru_cache(maxsize=4)
def _order(count: int, seed: str) -> list[int]:
    return Random(f"schedule/{seed}").sample(range(count), count)


def whole_groups(prompts: Sequence[str], size: int) -> int:
    """How many groups of ``size`` a batch has room for, in which TRL repeats each prompt so often, in a row.

    Raises InvalidRequestError where a group is not whole: rewards that compare within a group would be silently wrong.
    """
    parts = [prompts[start : start + size] for start in range(0, len(prompts), size)]
    if any(len(part) != size or len(set(part)) != 1 for part in parts):
        raise InvalidRequestError(
            f"a batch of {len(prompts)} episodes does not hold whole groups of {size}",
            param="rollout.group_size",
            hint="make episodes per device a multiple of it",
        )
    return len(parts)


@dataclass(frozen=True, slots=True)
class Figures:
    """What groups came to. Episodes whose first tool was drawn count for nothing here: they say nothing about the policy.

    ``rewards`` has one entry per episode that counts, ``right`` how many of those were, ``nano_usd`` what they spent;
    ``entropies`` one per group, in nats, of the tools that its episodes called first; ``kept`` groups teach something;
    ``tokens`` are all that the policy wrote.
    """

    rewards: tuple[float, ...]
    right: int
    nano_usd: int
    entropies: tuple[float, ...]
    kept: int
    tokens: int

    @classmethod
    def of(cls, groups: Sequence[Group]) -> "Figures":
        """Of groups."""
        scored = [pair for g in groups for pair in zip(g.episodes, g.score.rewards, strict=True)]
        free = [(episode, reward) for episode, reward in scored if episode.explored is None and reward is not None]
        return cls(
            rewards=tuple(reward for _, reward in free),
            right=sum(episode.rollout.right for episode, _ in free),
            nano_usd=sum(episode.rollout.cost_nano_usd for episode, _ in free),
            entropies=tuple(_route_entropy(group) for group in groups),
            kept=sum(group.score.dropped is None for group in groups),
            tokens=sum(sum(episode.trajectory.own) for group in groups for episode in group.episodes),
        )

    @classmethod
    def together(cls, parts: Sequence["Figures"]) -> "Figures":
        """Of all processes that played a step."""
        return cls(
            rewards=tuple(reward for part in parts for reward in part.rewards),
            right=sum(part.right for part in parts),
            nano_usd=sum(part.nano_usd for part in parts),
            entropies=tuple(entropy for part in parts for entropy in part.entropies),
            kept=sum(part.kept for part in parts),
            tokens=sum(part.tokens for part in parts),
        )

    def document(self) -> dict[str, float]:
        """Means as JSON, the same digits in whatever order the groups came; money in nano-USD a task."""
        episodes, groups = max(1, len(self.rewards)), max(1, len(self.entropies))
        return {
            "solved": self.right / episodes,
            "reward": fsum(self.rewards) / episodes,
            "cost_nano_usd": self.nano_usd / episodes,
            "route_entropy": fsum(self.entropies) / groups,
            "kept_groups": self.kept / groups,
            "tokens": self.tokens,
        }

    def sentence(self) -> str:
        """In words."""
        means = self.document()
        return (
            f"{means['solved']:.0%} solved, ${means['cost_nano_usd'] / NANO:.4f} a task, reward {means['reward']:.2f}, "
            f"{means['kept_groups']:.0%} of groups kept"
        )


def _route_entropy(group: Group) -> float:
    first = Counter(episode.first_call for episode in group.episodes if episode.explored is None)
    shares = [count / first.total() for count in first.values()]
    return fsum(share * log(1 / share) for share in shares)
