"""What is played: one request of a suite with all that is needed to start it, to judge it, and to name it by its content."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

from toolorchestra.core.resources.orchestrator import PreferenceSpec, Weights
from toolorchestra.training.evaluate.benchmarks.questions import Question, load_frames, load_hle
from toolorchestra.training.evaluate.benchmarks.questions import Questions as Loaded
from toolorchestra.training.evaluate.benchmarks.scripted import spoken
from toolorchestra.training.evaluate.benchmarks.tau2 import DialogueTask, load_tau2
from toolorchestra.training.evaluate.benchmarks.user import load_user_questions
from toolorchestra.training.evaluate.errors import InvalidPlanError
from toolorchestra.training.evaluate.plan import Questions, Tau2, Worlds
from toolorchestra.worlds.loading import load_tasks
from toolorchestra.worlds.questions import QuestionTask, read_questions
from toolorchestra.worlds.tasks import Preference, Task
from toolorchestra.worlds.world import World

Source: TypeAlias = Task | QuestionTask | Question | DialogueTask
_Item = TypeVar("_Item", Task, QuestionTask, Question, DialogueTask)

TAU2_HINT: Final = "name a world with the tools of that domain"
TEXT_HINT: Final = "name a file that holds questions without pictures"

# Opposite wishes on the same task, in words that a model reads and weights that score: what should change is what is used.
OPPOSITES: Final = (
    Preference(words="No matter the cost, I want the best answer.", weights=Weights(accuracy=1.0)),
    Preference(words="Please keep it cheap.", weights=Weights(accuracy=1.0, cost=0.8)),
    Preference(words="I am in a hurry, so be quick.", weights=Weights(accuracy=1.0, latency=0.8)),
)


@dataclass(frozen=True, slots=True)
class Subject:
    """One request. ``stage`` names what it is played with, ``session`` the part of its session's name before the task."""

    suite: str
    id: str
    cluster: str
    topic: str
    opening: str
    preference: Preference
    stage: str
    session: str
    source: Source

    @property
    def wish(self) -> PreferenceSpec:
        """The preference as a request states it."""
        return PreferenceSpec(words=self.preference.words or None, weights=self.preference.weights)

    @property
    def stated(self) -> Weights | None:
        """The weights to score by; None if nothing was wished."""
        weights = self.preference.weights
        return None if weights == Weights() and not self.preference.words else weights

    @property
    def is_simulated(self) -> bool:
        """Whether simulated experts know it."""
        return isinstance(self.source, Task | QuestionTask)

    @property
    def content(self) -> dict[str, Any]:
        """All that makes it what it is, for the key of its record."""
        return {
            "suite": self.suite,
            "source": self.source.model_dump(mode="json", exclude={"split"}),
            "preference": self.preference.model_dump(mode="json"),
        }


def world_subjects(suite: Worlds, folder: str, world: str, *, stage: str, seed: int) -> Iterator[Subject]:
    """The tasks of one world in a suite. Raises InvalidPlanError if no task has a tag that is asked for."""
    tasks = _drawn(load_tasks(folder), suite.split, suite.count, seed, where=folder)
    for task in tasks:
        wishes = OPPOSITES if suite.kind == "preferences" else (task.user.preference,)
        for wish in wishes:
            yield Subject(
                suite=suite.label,
                id=task.id,
                cluster=f"{task.world}/{task.intent}",
                topic=task.world,
                opening=task.user.opening,
                preference=wish,
                stage=stage,
                session=world,
                source=task,
            )


def question_subjects(suite: Questions, *, stage: str, seed: int, left_out: Counter[str]) -> Iterator[Subject]:
    """The questions of a file; those ``left_out`` are counted by reason. Raises what its loader raises."""
    path = Path(suite.file)
    match suite.kind:
        case "qa":
            for task in _drawn(read_questions(path), suite.split, suite.count, seed, where=suite.file):
                yield _asked(suite, task, task.question, task.preference, stage)
        case "hle" | "frames" | "user":
            found = _benchmark(suite, path)
            left_out.update(found.skipped)
            if not found.questions:
                raise _unplayable(suite.file, left_out, hint=TEXT_HINT)
            for question in _drawn(found.questions, (), suite.count, seed, where=suite.file):
                yield _asked(suite, question, question.text, Preference(), stage)


def _unplayable(file: str, left_out: Mapping[str, int], *, hint: str) -> InvalidPlanError:
    reasons = ", ".join(f"{count}: {reason}" for reason, count in left_out.items())
    return InvalidPlanError(f"{file}: no task can be played here; {reasons}", param="suites.file", hint=hint)


def _benchmark(suite: Questions, path: Path) -> Loaded:
    match suite.kind:
        case "hle":
            return load_hle(path)
        case "frames":
            return load_frames(path)
        case _:
            return load_user_questions(path, suite=suite.label, grader=suite.grader or "")


def _asked(suite: Questions, task: QuestionTask | Question, text: str, wish: Preference, stage: str) -> Subject:
    return Subject(
        suite=suite.label,
        id=task.id,
        cluster=task.cluster,
        topic=task.topic,
        opening=text,
        preference=wish,
        stage=stage,
        session=suite.label,
        source=task,
    )


def dialogue_subjects(suite: Tau2, world: World, *, stage: str, seed: int, left_out: Counter[str]) -> Iterator[Subject]:
    """The conversations of τ²-bench that can be played and judged here; those ``left_out`` are counted by reason."""
    found = [(task, task.why_not(world.tools)) for task in load_tau2(Path(suite.file), domain=suite.domain)]
    left_out.update(reason for _, reason in found if reason)
    tasks = [task for task, reason in found if not reason]
    if not tasks:
        raise _unplayable(suite.file, left_out, hint=TAU2_HINT)
    for task in _drawn(tasks, (), suite.count, seed, where=suite.file):
        yield Subject(
            suite=suite.label,
            id=task.id,
            cluster=task.cluster,
            topic=task.domain,
            opening=spoken(task.opening or task.instructions),
            preference=Preference(),
            stage=stage,
            session=world.name,
            source=task,
        )


def _drawn(items: Iterable[_Item], split: Sequence[str], count: int | None, seed: int, *, where: str) -> list[_Item]:
    """Those of a split, at most ``count``, drawn by a hash of their ids: more of them hold the fewer."""
    found = [item for item in items if not split or set(split) & set(getattr(item, "split", ()))]
    if not found:
        tags = f" with one of the tags {', '.join(split)}" if split else ""
        raise InvalidPlanError(f"{where}: there is no task{tags}", param="suites.split", hint="leave split out, or build more")
    if count is None or len(found) <= count:
        return found
    ranked = sorted(found, key=lambda item: blake2b(f"{seed}/{item.id}".encode(), digest_size=8).digest())
    kept = {item.id for item in ranked[:count]}
    return [item for item in found if item.id in kept]
