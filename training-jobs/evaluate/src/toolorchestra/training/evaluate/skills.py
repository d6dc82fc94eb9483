"""What experts can do by topic: what the simulation would have of them, beside what they did when they were alone."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean

from toolorchestra.training.evaluate.parts import SkillRow
from toolorchestra.training.evaluate.records import Episode
from toolorchestra.training.evaluate.stages import MONOLITH
from toolorchestra.training.evaluate.staging import Staged
from toolorchestra.worlds.questions import QuestionTask
from toolorchestra.worlds.simulation.drawing import probability
from toolorchestra.worlds.tasks import Task


def skill_rows(staged: Staged, episodes: Iterable[Episode]) -> list[SkillRow]:
    """One row per expert of the plan and topic, by name."""
    alone: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for episode in episodes:
        if episode.policy.startswith(MONOLITH) and episode.counts:
            alone[episode.policy.removeprefix(MONOLITH), episode.topic].append(float(episode.success))
    drawn = _drawn(staged)
    return [
        SkillRow(expert, topic, fmean(chances), fmean(found) if (found := alone[expert, topic]) else None, len(chances))
        for (expert, topic), chances in sorted(drawn.items())
    ]


def _drawn(staged: Staged) -> dict[tuple[str, str], Sequence[float]]:
    found: defaultdict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for subject in staged.subjects:
        if isinstance(subject.source, Task | QuestionTask) and staged.plan.cast.offered:
            for profile in staged.casts[subject.stage]:
                chance = probability(staged.plan.seed, subject.source, profile)
                found[profile.name, subject.topic][subject.id] = chance
    return {key: list(chances.values()) for key, chances in found.items()}
