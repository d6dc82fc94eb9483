"""The managers of an evaluation as objects: routers by the names of their stand-in models, experts by their own."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from toolorchestra.core.chat import ChatModels
from toolorchestra.training.evaluate.benchmarks.questions import Question
from toolorchestra.training.evaluate.benchmarks.tau2 import DialogueTask
from toolorchestra.training.evaluate.routers.choosing import Cascade, always_strongest, at_random, cheapest
from toolorchestra.training.evaluate.routers.models import Actor, Golden, RouterModels, Solution, acting, nothing
from toolorchestra.training.evaluate.routers.oracle import Oracle
from toolorchestra.training.evaluate.stages import MONOLITH, manager_name
from toolorchestra.training.evaluate.staging import Staged
from toolorchestra.training.evaluate.subjects import Source, Subject
from toolorchestra.training.evaluate.training import Choices
from toolorchestra.worlds.answers import tell
from toolorchestra.worlds.questions import QuestionTask
from toolorchestra.worlds.simulation.cases import Case
from toolorchestra.worlds.simulation.drawing import Draw, Fault
from toolorchestra.worlds.simulation.models import SimulatedModels
from toolorchestra.worlds.tasks import Task

DONE: Final = "Done."  # what is said when nothing is to be told
WHO: Final = "Could you give me your details?"  # what an agent asks first


@dataclass(frozen=True)
class Company:
    """All models of one seed: the experts of every stage, and the routers among them."""

    staged: Staged
    choices: Mapping[str, Choices]
    seed: int

    def models(self, stage: str, policy: str) -> ChatModels:
        """Who manages a run of this policy on this stage."""
        return self.experts[stage] if policy.startswith(MONOLITH) else self.routers

    @cached_property
    def experts(self) -> dict[str, SimulatedModels]:
        """The simulated experts by stage."""
        return {name: SimulatedModels(self.staged.book, cast, self.seed) for name, cast in self.staged.casts.items()}

    @cached_property
    def routers(self) -> RouterModels:
        """All routers of the plan, for all stages."""
        stages = self.staged.stages.values()
        cards = {name: card for stage in stages for name, card in stage.cards.items()}
        plain = {function: name for stage in stages for function, name in stage.plain_names.items()}
        return RouterModels(self._actors(), cards, plain)

    def _actors(self) -> dict[str, Actor]:
        found: dict[str, Actor] = {
            "golden": Golden({subject.opening: solution_of(subject, self.staged) for subject in self.staged.subjects}),
            "nothing": nothing,
            "cheapest": acting(cheapest()),
            "strongest": acting(always_strongest()),
            "random": acting(at_random(self.seed)),
            "cascade": acting(Cascade()),
            "oracle": acting(Oracle(self._is_right)),
            **{name: acting(choices) for name, choices in self.choices.items()},
        }
        return {manager_name(name): actor for name, actor in found.items()}

    def _is_right(self, opening: str, expert: str, step: int) -> bool:
        case = self._cases.get(opening)
        stage = next((name for name, cast in self.staged.casts.items() if expert in cast.names), None)
        if case is None or stage is None:
            return False
        answers = case.world is None  # to a question an expert answers at once
        return is_sure(self.experts[stage].outcome(expert, case.id), len(case.golden) if answers else step)

    @cached_property
    def _cases(self) -> dict[str, Case]:
        return {case.opening: case for case in self.staged.book.cases.values()}


def is_sure(draw: Draw, step: int) -> bool:
    """Whether an expert is right on one step, whoever did the others; after a mistake of its own it believes in it."""
    match draw.fault:
        case None:
            return True
        case Fault.MUTATED | Fault.STOPPED:
            return step < draw.step
        case _:
            return draw.right_at(step)


def solution_of(subject: Subject, staged: Staged) -> Solution:
    """The reference solution of a subject."""
    world = staged.stages[subject.stage].world
    return _solution(subject.source, "USD" if world is None else world.spec.currency)


def _solution(source: Source, currency: str) -> Solution:
    match source:
        case Task():
            return Solution([(one.tool, one.arguments) for one in source.golden], tell(source.facts, currency=currency) or DONE)
        case QuestionTask():
            return Solution([(one.tool, one.arguments) for one in source.golden], source.text)
        case Question():
            return Solution((), source.reference)
        case DialogueTask():
            calls = [(one.name, one.arguments) for one in source.golden if not one.by_user]
            return Solution(calls, " ".join(source.communicate) or DONE, question=WHO if source.known else "")
