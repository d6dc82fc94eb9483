"""One attempt at a task as the rewards see it: how it ended, what it took, what it called."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final

from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.core.loop.state import State
from toolorchestra.core.money import NanoUsd

_MS: Final = timedelta(milliseconds=1)


class EpisodeOutcome(StrEnum):
    """How an episode ended. No answer is ``wrong``; what the environment broke is nobody's fault."""

    OK = "ok"
    WRONG = "wrong"
    ENVIRONMENT_FAILURE = "environment_failure"


@dataclass(frozen=True, slots=True)
class Rollout:
    """One episode of a group.

    ``cost_nano_usd`` includes the orchestrator's own tokens and the last call, ``latency_ms`` its own generation. ``uses`` are
    the calls made, by function name; one that is missing was not used. Raises InvalidRequestError for numbers below zero.
    """

    outcome: EpisodeOutcome
    cost_nano_usd: NanoUsd
    latency_ms: int
    uses: Mapping[str, int] = field(default_factory=dict)
    format_ok: bool = True

    def __post_init__(self) -> None:
        counts = {f"uses.{name}": count for name, count in self.uses.items()}
        for name, value in {"cost_nano_usd": self.cost_nano_usd, "latency_ms": self.latency_ms, **counts}.items():
            if value < 0:
                raise InvalidRequestError(f"{name} is {value}", param=name, hint="give what was spent or used, 0 or more")

    @property
    def right(self) -> bool:
        """Whether it counts as right. An answer in a bad format is wrong."""
        return self.outcome is EpisodeOutcome.OK and self.format_ok

    @property
    def counts(self) -> bool:
        """Whether it says anything about the policy."""
        return self.outcome is not EpisodeOutcome.ENVIRONMENT_FAILURE


def rollout_of(runs: Sequence[State], outcome: EpisodeOutcome, *, format_ok: bool = True) -> Rollout:
    """The episode that these ended runs are, by their facts: all that was paid, and the time by their journal's clock.

    Failed and lost attempts, the closing answer and every call of a turn are in it; time parked for the user is not.
    Raises InvalidRequestError for no run, or one under way.
    """
    if not runs or any(run.ended is None for run in runs):
        raise InvalidRequestError("an episode is one or more ended runs", param="runs", hint="drive each run to its end first")
    calls = [call for run in runs for turn in run.turns for call in turn.calls if call.started is not None]
    return Rollout(
        outcome,
        cost_nano_usd=sum(run.spent_nano_usd for run in runs),
        latency_ms=sum((run.now - run.opened_at) // _MS - run.waited_ms for run in runs),
        uses=Counter(call.intent.function for call in calls),
        format_ok=format_ok,
    )
