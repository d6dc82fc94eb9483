"""Whether a simulated expert is right on a task, and if not, where and how: drawn once and for all from a seed.

P(right) = sigmoid(skill − difficulty + u), where u has a part that all experts share on a task and a part of each one's own.
So repeats agree, and experts err together more often than by chance, as models do (arXiv 2506.07962).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from toolorchestra.worlds.questions import QuestionTask
from toolorchestra.worlds.simulation.profiles import Profile
from toolorchestra.worlds.simulation.topics import difficulty_of, topics_of
from toolorchestra.worlds.tasks import Task

SHARED, OWN = 0.6, 0.5  # standard deviations of the two parts of u, in logits


class Fault(StrEnum):
    """How an expert fails. The first three look right; the last three show."""

    MUTATED = "a write with a wrong argument"
    MISREPORTED = "a fact told wrongly"
    STOPPED = "it stops before a write"
    REFUSED = "it refuses"
    CUT = "its reply is cut"
    LATE = "it does not answer in time"


@dataclass(frozen=True, slots=True)
class Draw:
    """How an expert does on a task. ``step`` is the golden call that it fails at, or the number of them for the answer."""

    right: bool
    probability: float
    fault: Fault | None = None
    step: int = 0

    def right_at(self, step: int) -> bool:
        """Whether its proposal for one step is right: an expert that fails does so at one step, or refuses at all."""
        return self.right or (self.fault is not Fault.REFUSED and step != self.step)


def probability(seed: int, task: Task | QuestionTask, profile: Profile, *, aid: float = 0.0) -> float:
    """P(right). ``aid``: logits for what the expert was given, e.g. a passage that holds the answer."""
    shared = Random(f"{seed}/{task.id}/shared").gauss(0, SHARED)
    own = Random(f"{seed}/{task.id}/{profile.who}/own").gauss(0, OWN)
    return sigmoid(profile.skill(topics_of(task)) - difficulty_of(task) + shared + own + aid)


def is_right(seed: int, task: Task | QuestionTask, profile: Profile, *, aid: float = 0.0) -> bool:
    """Whether the expert is right; more aid never makes it wrong."""
    return _level(seed, task, profile) < probability(seed, task, profile, aid=aid)


def draw(seed: int, task: Task | QuestionTask, profile: Profile, *, writes: Sequence[int] = (), aid: float = 0.0) -> Draw:
    """How the expert does. ``writes`` are the places of the golden calls that change something."""
    likely = probability(seed, task, profile, aid=aid)
    if _level(seed, task, profile) < likely:
        return Draw(right=True, probability=likely)
    random = Random(f"{seed}/{task.id}/{profile.who}/fault")
    facts = 1 if isinstance(task, QuestionTask) else len(task.facts)
    fault = _fault(random, profile, writes=len(writes), facts=facts)
    return Draw(right=False, probability=likely, fault=fault, step=_step(random, fault, len(task.golden), writes))


def sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit))


def _level(seed: int, task: Task | QuestionTask, profile: Profile) -> float:
    return Random(f"{seed}/{task.id}/{profile.who}/level").random()


def _fault(random: Random, profile: Profile, *, writes: int, facts: int) -> Fault:
    """The visible ones at the profile's rates; the rest by what the task allows for."""
    quiet = 1 - profile.refusals - profile.truncations - profile.timeouts
    shares = {
        Fault.REFUSED: profile.refusals,
        Fault.CUT: profile.truncations,
        Fault.LATE: profile.timeouts,
        Fault.MUTATED: quiet * (0.5 if writes else 0),
        Fault.STOPPED: quiet * (0.15 if writes else 0),
        Fault.MISREPORTED: quiet * ((0.35 if writes else 1) if facts else 0),
    }
    return random.choices(list(shares), list(shares.values()))[0]


def _step(random: Random, fault: Fault, calls: int, writes: Sequence[int]) -> int:
    match fault:
        case Fault.MUTATED | Fault.STOPPED:
            return random.choice(writes)
        case Fault.MISREPORTED:
            return calls
        case Fault.REFUSED:
            return 0
        case _:
            return random.randint(0, calls)
