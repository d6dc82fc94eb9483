"""What a task is about, and how hard it is: all that a simulated expert's chance depends on beside its skills.

A task of a world has its field (the world) and its kinds of work, by the verbs of the tools that it writes with; a question has
what it takes to answer it, and its subject. Requests let them be seen to a degree: the first nearly always, the rest often.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from toolorchestra.worlds.questions import Need, QuestionTask
from toolorchestra.worlds.tasks import Task

FIELDS: Final = (
    "finance", "sport", "ecommerce", "medicine", "entertainment", "railway", "restaurant", "education", "travel", "weather",
)  # fmt: skip
OBTAINING, UNDOING, CHANGING, INFORMING = "obtaining", "undoing", "changing", "informing"
WORK: Final = (OBTAINING, UNDOING, CHANGING, INFORMING)
NEEDS: Final = tuple(need.value for need in Need)
SUBJECTS: Final = ("science", "geography", "history", "computing", "product", "physics", "chemistry", "mathematics")
TOPICS: Final = (*FIELDS, *WORK, *NEEDS, *SUBJECTS)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_VERBS: Final[Mapping[str, frozenset[str]]] = {
    OBTAINING: _words(
        "add apply book buy charge collect create enrol enroll enter hire issue join make open order pay place plan "
        "redeem register rent request reserve save schedule start subscribe take top write"
    ),
    UNDOING: _words(
        "appeal block cancel claim close delete discard dispute drop end freeze leave pause refund refuse remove report return "
        "skip stop suspend unsubscribe void waive withdraw"
    ),
}
_READS: Final = _words("check compare count find free get list look quote read search show sum track view")

# Measured in logits, per unit above a plain task: five calls, one write, two facts, three steps deep, one intent.
_PLAIN: Final[Mapping[str, int]] = {"calls": 5, "writes": 1, "facts": 2, "depth": 3, "intents": 1}
_WEIGHTS: Final[Mapping[str, float]] = {"calls": 0.2, "writes": 0.2, "facts": 0.12, "depth": 0.12, "intents": 0.25}
_STEP: Final = 0.6  # a question's second and further steps
FIRST_SHARE: Final = 0.7
EASIEST, HARDEST = -1.5, 3.0


def topics_of(task: Task | QuestionTask) -> tuple[str, ...]:
    """What a task is about, the main thing first: field and kinds of work, or what a question takes and its subject."""
    if isinstance(task, QuestionTask):
        return tuple(dict.fromkeys((task.need.value, task.topic)))
    verbs = [one.tool.split("_", 1)[0] for one in task.golden]
    writing = [verb for verb in verbs if verb not in _READS]
    work = dict.fromkeys(_work(verb) for verb in writing) if task.difficulty.get("writes", 1) else {}
    return (task.world, *(work or (INFORMING,)))


def difficulty_of(task: Task | QuestionTask) -> float:
    """How hard a task is, in logits: 0 is a plain one; from its counts of calls, writes, facts, depth and intents."""
    if isinstance(task, QuestionTask):
        return min(HARDEST, _STEP * (task.steps - 1))
    counts = {"calls": len(task.golden), "facts": len(task.facts), **task.difficulty}
    return max(EASIEST, min(HARDEST, weighed(counts)))


def weighed(counts: Mapping[str, int]) -> float:
    """The counts of a task against a plain one, in logits."""
    return sum(_WEIGHTS[name] * (counts.get(name, plain) - plain) for name, plain in _PLAIN.items())


def skill_on(skills: Mapping[str, float], base: float, topics: Sequence[str]) -> float:
    """A skill in logits on several topics: mostly that of the first; ``base`` where none is known."""
    if not topics:
        return base
    found = [skills.get(topic, base) for topic in topics]
    first, rest = found[0], found[1:]
    return FIRST_SHARE * first + (1 - FIRST_SHARE) * sum(rest) / len(rest) if rest else first


def _work(verb: str) -> str:
    return next((work for work, verbs in _VERBS.items() if verb in verbs), CHANGING)
