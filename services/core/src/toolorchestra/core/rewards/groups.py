"""What the episodes of one task teach together: filters, advantages, and the exploration that keeps them from being all alike.

Group-relative advantages are those of GRPO (arXiv 2402.03300); the filters are ToolOrchestra's (arXiv 2511.21689, section 3.2)
but for one: an answer in a bad format, or none, is wrong and stays, else the policy never learns to avoid it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, TypeVar

from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.core.rewards.episodes import Rollout
from toolorchestra.core.rewards.forms import Form, mean, rewarded, sample_std
from toolorchestra.core.rewards.yardstick import Yardstick

LEAST_STD: Final[Mapping[Form, float]] = {Form.REFERENCE: 0.02, Form.PAPER: 0.1, Form.GDPO: 0.02}
LEAST_EPISODES: Final = 2
EXPLORED_SHARE: Final = 1 / 8
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class GroupScore:
    """What n episodes of one task come to, in their order; None where the environment failed.

    ``terms`` are the aspects before weighing, for people. ``std`` is the sample standard deviation of the rewards. ``dropped``
    says why the group teaches nothing; its advantages are then 0. Advantages are in standard deviations, at most (n − 1)/√n.
    """

    rewards: tuple[float | None, ...]
    advantages: tuple[float | None, ...]
    terms: tuple[Mapping[str, float] | None, ...]
    std: float
    dropped: str | None


def score_group(group: Sequence[Rollout], yardstick: Yardstick, *, form: Form = Form.REFERENCE) -> GroupScore:
    """Rewards and advantages of all n episodes of one task; environment failures are out before anything is normalised.

    Raises InvalidRequestError where an episode used what was not offered.
    """
    _check_uses(group, yardstick)
    counted = [rollout for rollout in group if rollout.counts]
    if not counted:
        nothing = (None,) * len(group)
        return GroupScore(nothing, nothing, nothing, 0.0, "no episode counts: the environment failed in each")
    scored = rewarded(counted, yardstick, form)
    std = sample_std(scored.rewards)
    dropped = _too_alike(len(counted), std, LEAST_STD[form])
    terms = [{term.name: term.values[n] for term in scored.terms} for n in range(len(counted))]
    return GroupScore(
        rewards=_placed(group, scored.rewards),
        advantages=_placed(group, [0.0] * len(counted) if dropped else advantages(scored.rewards)),
        terms=_placed(group, terms),
        std=std,
        dropped=dropped,
    )


def advantages(rewards: Sequence[float]) -> tuple[float, ...]:
    """How many sample standard deviations each reward is above the mean; 0 where all are equal (GRPO, arXiv 2402.03300)."""
    std = sample_std(rewards)
    if not std:
        return (0.0,) * len(rewards)
    middle = mean(rewards)
    return tuple((reward - middle) / std for reward in rewards)


def explored_first_tools(
    seed: int, size: int, tools: Sequence[str], *, share: float = EXPLORED_SHARE
) -> tuple[str | None, ...]:
    """For each of the ``size`` episodes of a group the first tool that it has to call; None where it chooses freely.

    A group that always takes one route teaches nothing, whatever the reward, so in each of eight one episode has its first tool
    drawn uniformly from ``tools``, the allowed ones; in groups of another size a ``share`` of them, on average. Raises
    InvalidRequestError for no tools, or a share outside 0 to 1.
    """
    if not tools:
        raise InvalidRequestError("there is no tool to explore", param="tools", hint="allow at least one")
    if not 0 <= share <= 1:
        raise InvalidRequestError(f"the share is {share}", param="share", hint="a share is from 0 to 1")
    draw = Random(seed)
    drawn = draw.sample(range(size), min(size, math.floor(size * share + draw.random())))
    return tuple(draw.choice(tools) if number in drawn else None for number in range(size))


def _check_uses(group: Sequence[Rollout], yardstick: Yardstick) -> None:
    for number, rollout in enumerate(group):
        unknown = sorted(rollout.uses.keys() - set(yardstick.tools))
        if unknown:
            message = f"it used {', '.join(unknown)}, which was not offered"
            raise InvalidRequestError(message, param=f"group.{number}.uses", hint="name tools as the yardstick does")


def _too_alike(size: int, std: float, least: float) -> str | None:
    if size < LEAST_EPISODES:
        return f"only {size} of the episodes counts, and {LEAST_EPISODES} are needed to compare"
    return f"the rewards differ too little: {std:.3g} < {least:g}" if std < least else None


def _placed(group: Sequence[Rollout], values: Iterable[_T]) -> tuple[_T | None, ...]:
    """The values of the episodes that count, at their places in the group."""
    rest = iter(values)
    return tuple(next(rest) if rollout.counts else None for rollout in group)
