"""Episodes as JSON, for people who look into a run and for tools that replay it."""

from collections.abc import Mapping
from typing import Any

from toolorchestra.core.money import format_usd
from toolorchestra.core.policyformat import STOP
from toolorchestra.training.grpo.grouping import Group
from toolorchestra.training.grpo.rollouts import Episode


def group_record(group: Group) -> dict[str, Any]:
    """A group: its prompt once, and of each episode what was written, its dollars, reward, terms and advantage."""
    first = group.episodes[0].trajectory
    score = group.score
    rows = zip(group.episodes, score.rewards, score.terms, score.advantages, strict=True)
    return {
        "task": group.scene.id,
        "prompt": first.codec.decode(first.ids[: first.prompt]),
        "dropped": score.dropped,
        "std": score.std,
        "episodes": [_episode(episode, reward, terms, advantage) for episode, reward, terms, advantage in rows],
    }


def written(episode: Episode) -> list[str]:
    """What the policy wrote, turn by turn."""
    trajectory = episode.trajectory
    own = [token if mine else -1 for token, mine in zip(trajectory.ids, trajectory.own, strict=True)]
    turns: list[list[int]] = [[]]
    for token in own:
        if token >= 0:
            turns[-1].append(token)
        elif turns[-1]:
            turns.append([])
    return [trajectory.codec.decode(turn).removesuffix(STOP) for turn in turns if turn]


def _episode(
    episode: Episode, reward: float | None, terms: Mapping[str, float] | None, advantage: float | None
) -> dict[str, Any]:
    return {
        "written": written(episode),
        "explored": episode.explored,
        "outcome": episode.rollout.outcome.value,
        "cost_usd": format_usd(episode.rollout.cost_nano_usd),
        "latency_ms": episode.rollout.latency_ms,
        "reward": reward,
        "terms": dict(terms) if terms is not None else None,
        "advantage": advantage,
    }
