"""From tasks to scored groups: seats with exploration, episodes, rewards and advantages of each group."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
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
        return [Seat(scene, explored) for explored in drawn]

    def _group(self, scene: Scene, episodes: tuple[Episode, ...]) -> Group:
        score = score_group([episode.rollout for episode in episodes], scene.yardstick, form=self.form)
        return Group(scene, episodes, score)


def groups_of(prompts: Sequence[str], size: int) -> list[int]:
    """The task numbers of a batch in which each is repeated ``size`` times, in a row.

    Raises InvalidRequestError where a group is not whole: rewards that compare within a group would be silently wrong.
    """
    numbers = [int(prompt) for prompt in prompts]
    parts = [numbers[start : start + size] for start in range(0, len(numbers), size)]
    if any(len(part) != size or len(set(part)) != 1 for part in parts):
        raise InvalidRequestError(
            f"a batch of {len(numbers)} episodes does not hold whole groups of {size}",
            param="rollout.group_size",
            hint="make episodes per device a multiple of it",
        )
    return [part[0] for part in parts]


@dataclass(frozen=True, slots=True)
class Figures:
    """What a batch of groups came to: means over the episodes that chose freely; money in nano-USD."""

    solved: float
    reward: float
    cost_nano_usd: float
    kept_groups: float

    @classmethod
    def of(cls, groups: Sequence[Group]) -> "Figures":
        """Of groups; episodes whose first tool was drawn say nothing about the policy."""
        free = [
            (e, r)
            for g in groups
            for e, r in zip(g.episodes, g.score.rewards, strict=True)
            if e.explored is None and r is not None
        ]
        count = max(1, len(free))
        return cls(
            solved=sum(episode.rollout.right for episode, _ in free) / count,
            reward=sum(reward for _, reward in free) / count,
            cost_nano_usd=sum(episode.rollout.cost_nano_usd for episode, _ in free) / count,
            kept_groups=sum(group.score.dropped is None for group in groups) / len(groups),
        )

    def document(self) -> dict[str, float]:
        """As JSON; money in nano-USD."""
        return {
            "solved": self.solved,
            "reward": self.reward,
            "cost_nano_usd": self.cost_nano_usd,
            "kept_groups": self.kept_groups,
        }

    def sentence(self) -> str:
        """In words."""
        dollars = self.cost_nano_usd / NANO
        return (
            f"{self.solved:.0%} solved, ${dollars:.4f} a task, reward {self.reward:.2f}, {self.kept_groups:.0%} of groups kept"
        )
