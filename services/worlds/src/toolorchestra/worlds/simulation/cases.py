"""What simulated experts know tasks by: the reference solution, and what of it can be known at each step."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

from toolorchestra.worlds.naming import SessionName
from toolorchestra.worlds.questions import YEAR, QuestionTask, says_answer
from toolorchestra.worlds.serving.manifests import world_tool
from toolorchestra.worlds.session import Session
from toolorchestra.worlds.simulation.conversation import Heard, Made
from toolorchestra.worlds.state import money_text
from toolorchestra.worlds.tasks import Fact, Task
from toolorchestra.worlds.values import Kind
from toolorchestra.worlds.world import World

WINDOW: Final = 6  # words that find an opening in a text


class Case:
    """A task of a world, or a question (``world`` is None), as experts use it."""

    def __init__(self, task: Task | QuestionTask, world: World | None = None) -> None:
        self.task, self.world = task, world
        self.id = task.id
        self.opening = task.question if isinstance(task, QuestionTask) else task.user.opening
        self.golden = task.golden
        self.year = YEAR if world is None else world.spec.clock.year

    @property
    def facts(self) -> tuple[Fact, ...]:
        """What the answer must say."""
        if isinstance(self.task, Task):
            return self.task.facts
        return (Fact(name="answer", kind=self.task.kind, value=self.task.value, rows=(("questions", self.id),)),)

    @cached_property
    def writes(self) -> tuple[int, ...]:
        """Places of the golden calls that change something."""
        if self.world is None:
            return ()
        return tuple(place for place, one in enumerate(self.golden) if self.world.tools[one.tool].writes)

    @cached_property
    def results(self) -> tuple[Any, ...]:
        """What the golden calls bring; nothing is known of those of real tools."""
        if self.world is None:
            return ()
        return tuple(result.content for result in Session.replay(self.world, [one.call for one in self.golden]).results)

    @cached_property
    def findable(self) -> tuple[frozenset[str], ...]:
        """For each golden call the arguments whose values the user says or an earlier call shows; others are constants."""
        if not isinstance(self.task, Task):
            return tuple(frozenset[str]() for _ in self.golden)
        shown = [_text(content) for content in self.results]
        said = [self.opening, *self.task.user.known.values()]
        return tuple(
            frozenset(self._held(one.tool, one.arguments, Heard(said, shown[:place], self.year)))
            for place, one in enumerate(self.golden)
        )

    @cached_property
    def shown_facts(self) -> frozenset[str]:
        """Facts that stand in a result as they are told; others are worked out."""
        heard = Heard((), [_text(content) for content in self.results], self.year)
        return frozenset(fact.name for fact in self.facts if shows(heard, fact))

    def missing(self, place: int, arguments: Mapping[str, Any], heard: Heard) -> list[str]:
        """Arguments of a call at this place that nobody could know from what was heard."""
        names = self.findable[place]
        wanted = {name: value for name, value in arguments.items() if name in names}
        held = set(self._held(self.golden[place].tool, wanted, heard))
        return [name for name in wanted if name not in held]

    def answered_by(self, texts: Iterable[str]) -> bool:
        """Whether a question's answer stands in one of the texts."""
        if not isinstance(self.task, QuestionTask):
            return False
        return any(says_answer(self.task, text) for text in texts)

    def tool_of(self, function: str, descriptions: Mapping[str, str]) -> str:
        """The tool that a function is: by its name, or by its description where it was renamed."""
        if self.world is None:
            return function
        known = function if function in self.world.tools else world_tool(function, self.world)
        if known is None and function in descriptions:
            text = descriptions[function]
            known = next((name for name, tool in self.world.tools.items() if text.startswith(tool.description)), None)
        return known or function

    def _held(self, tool: str, arguments: Mapping[str, Any], heard: Heard) -> Iterator[str]:
        properties = {} if self.world is None else self.world.tools[tool].parameters["properties"]
        for name, value in arguments.items():
            about = properties.get(name, {})
            if "enum" not in about and value is not None and heard.holds(value, about.get("format")):
                yield name


def shows(heard: Heard, fact: Fact) -> bool:
    """Whether a result shows a fact as it is told."""
    if fact.kind is Kind.YESNO:
        return False
    return heard.shows(money_text(int(fact.value)) if fact.kind is Kind.MONEY else fact.value)


class TaskBook:
    """All tasks that simulated experts may be asked about, found by session or by their opening in a text."""

    def __init__(self, worlds: Iterable[tuple[World, Sequence[Task]]] = (), questions: Iterable[QuestionTask] = ()) -> None:
        cases = [Case(task, world) for world, tasks in worlds for task in tasks]
        cases += [Case(question) for question in questions]
        self.cases: Mapping[str, Case] = {case.id: case for case in cases}
        self._openings: dict[tuple[str, ...], list[Case]] = {}
        for case in cases:
            self._openings.setdefault(_key(case.opening.split()), []).append(case)

    def find(self, session: str | None, text: str) -> Case | None:
        """The case of a session, or else that whose opening stands in the text; None for what is not in the book."""
        name = SessionName.find(session)
        if name is not None and name.task in self.cases:
            return self.cases[name.task]
        words = text.split()
        plain = " ".join(words)
        for place in range(len(words)):
            for length in range(1, WINDOW + 1):
                for case in self._openings.get(tuple(words[place : place + length]), ()):
                    if " ".join(case.opening.split()) in plain:
                        return case
        return None


def tool_calls(case: Case, made: Iterable[Made], descriptions: Mapping[str, str]) -> list[Made]:
    """The calls under the names that tools have in the world."""
    return [Made(case.tool_of(one.name, descriptions), one.arguments, one.result, one.ok) for one in made]


def _key(words: Sequence[str]) -> tuple[str, ...]:
    return tuple(words[:WINDOW])


def _text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
