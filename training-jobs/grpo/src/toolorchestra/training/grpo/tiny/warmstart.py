"""Conversations for the warm start: templates that teach to write the format, to copy, and to compare, but not what to prefer.

Told which tool, or by what to choose, the template does as it is told; told nothing it draws the tool, evenly or as biased as
is wanted. What is worth choosing then, and what the users' few words mean, is left to the rewards.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from typing_extensions import override

from toolorchestra.core.chat import ChatModels, ChatReply, ChatRequest, CompletionReply, CompletionRequest
from toolorchestra.core.loop.facts import Decision, Intent
from toolorchestra.core.policyformat import beginning, output_of
from toolorchestra.core.pricing import Usage
from toolorchestra.core.resources.orchestrator import Weights
from toolorchestra.training.grpo.policies import PolicyUnavailableError
from toolorchestra.training.grpo.tiny.routes import ALIASES, WISHES, Card, Draw, Family, Kind, RouteTask, Wish
from toolorchestra.training.grpo.tiny.staging import ARGUMENTS, QUESTION, scene_of
from toolorchestra.training.grpo.tokens import Codec
from toolorchestra.training.grpo.trajectories import Trajectory
from toolorchestra.worlds.playing import play

EVEN: Final = Weights()
CHEAPEST: Final = "the cheapest that knows, please"
QUICKEST: Final = "the quickest that knows, please"


@dataclass(frozen=True, slots=True)
class Lessons:
    """``told``: the share of conversations with an instruction. ``expert``: how likely, where none is given, the only expert of
    rare things is asked; None draws evenly among tools. ``mistaken``: the share that begins with a call whose argument has
    another tool's name, and goes on. ``wished``: the share of the others that have a few words of a user; then the choice of a
    tool is not taught.
    """

    seed: int
    told: float = 0.5
    expert: float | None = None
    mistaken: float = 0.0
    wished: float = 0.0
    tools: int = 5

    def lesson(self, number: int) -> tuple[RouteTask, Card]:
        """Task ``number`` and the tool that its template calls."""
        random = Random(f"lessons/{self.seed}/{number}")
        draw = replace(drawing(self.seed, self.tools), lone_expert=self.expert is not None)
        task = draw.task(random.randrange(1 << 40))
        if random.random() >= self.told:
            wished = self.expert is not None or (self.wished and random.random() < self.wished)
            words = random.choice([wish.words for wish in WISHES]) if wished else None
            return replace(task, wish=Wish(words, EVEN)), self._drawn(random, task)
        cheapest, quickest, *asked = instructions(task)
        words, chosen = random.choice((cheapest, cheapest, quickest, quickest, random.choice(asked)))
        return replace(task, wish=Wish(words, EVEN)), chosen

    async def trajectory(self, number: int, codec: Codec) -> Trajectory:
        """The same, as tokens; a mistake is shown, and not taught."""
        task, card = self.lesson(number)
        conversation = await self._recorded(number, task, card, codec)
        if self.expert is None and task.wish.words in [wish.words for wish in WISHES if wish.words]:
            conversation.own[conversation.own.index(1) + len(codec.encode(beginning("")))] = 0  # the name
        return conversation

    async def _recorded(self, number: int, task: RouteTask, card: Card, codec: Codec) -> Trajectory:
        if Random(f"mistakes/{self.seed}/{number}").random() >= self.mistaken:
            return await record(task, card, codec)
        conversation = await record(task, card, codec, mistaken=True)
        first = conversation.own.index(1)
        after = conversation.own.index(0, first)
        conversation.own[first:after] = [0] * (after - first)
        return conversation

    def _drawn(self, random: Random, task: RouteTask) -> Card:
        if self.expert is not None and random.random() < self.expert:
            return next(card for card in task.cards if card.family is Family.RARE)
        return random.choice(task.cards)


def drawing(seed: int, tools: int) -> Draw:
    """What lessons draw from: every name, and prices as often turned over as not."""
    return Draw(seed, wishes=(Wish(None, EVEN),), flipped=0.6, tools=tools, names=ALIASES)


def instructions(task: RouteTask) -> list[tuple[str, Card]]:
    """Instructions, and who follows from each: one tool by name, the cheapest and the quickest that knows."""
    fits = [card for card in task.cards if card.knows(task.kind)]
    cheapest = min(fits, key=lambda card: (card.price, card.latency))
    quickest = min(fits, key=lambda card: (card.latency, card.price))
    return [(CHEAPEST, cheapest), (QUICKEST, quickest), *((f"ask {card.name}", card) for card in task.cards)]


def outputs(task: RouteTask, card: Card, *, mistaken: bool = False) -> Iterator[str]:
    """What a manager writes that calls this tool, perhaps by a wrong argument first, and hands its answer on."""
    ((argument, asked),) = arguments_of(task, card).items()
    if mistaken:
        other = next(name for name in (QUESTION, *ARGUMENTS.values()) if name != argument)
        yield call_of(card, {other: asked})
    yield call_of(card, {argument: asked})
    yield output_of(Decision(answer_from="2/1" if mistaken else "1/1"))


def arguments_of(task: RouteTask, card: Card) -> dict[str, str]:
    """What this tool is asked: its own part of a question that it is made for, else all of it."""
    fits = (card.family, task.kind) in ((Family.CALCULATOR, Kind.SUM), (Family.REGISTER, Kind.ORDER))
    return {ARGUMENTS.get(card.family, QUESTION): task.argument if fits else task.question}


def call_of(card: Card, arguments: dict[str, str]) -> str:
    """The call, as a manager writes it."""
    return output_of(Decision(calls=(Intent(function=card.name, arguments=arguments),)))


async def record(task: RouteTask, card: Card, codec: Codec, *, mistaken: bool = False) -> Trajectory:
    """The conversation in which this tool is called, through the platform's own loop."""
    scene, trajectory = scene_of(task), Trajectory(codec)
    template = _Template(outputs(task, card, mistaken=mistaken), trajectory)
    await play(scene.revision, scene.opened, models=template, executor=scene.executor())
    return trajectory


@dataclass(slots=True)
class _Template(ChatModels):
    """A manager that says what the template says."""

    said: Iterator[str]
    trajectory: Trajectory

    @override
    async def chat(self, request: ChatRequest) -> ChatReply:
        raise PolicyUnavailableError("a template has no closing answer")

    @override
    async def complete(self, request: CompletionRequest) -> CompletionReply:
        codec = self.trajectory.codec
        self.trajectory.show(str(request.prompt))
        ids = [*codec.encode(next(self.said)), codec.stop]
        return CompletionReply(text=self.trajectory.write(ids, [0.0] * len(ids)), usage=Usage())
