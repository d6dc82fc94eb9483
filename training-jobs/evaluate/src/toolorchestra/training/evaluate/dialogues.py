"""Dialogues: episodes of several runs, between which the user speaks. Each run sees what was said; all share one session.

The user is played from the scenario, or by a model that the plan names.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias, TypeVar

from toolorchestra.core.chat import ChatModels, ChatRequest, WireMessage
from toolorchestra.core.functions import ExpertTarget
from toolorchestra.training.evaluate.benchmarks.scripted import ScriptedUser
from toolorchestra.training.evaluate.benchmarks.tau2 import DialogueTask
from toolorchestra.training.evaluate.subjects import Subject

STOPS: Final = ("###STOP###", "###TRANSFER###", "###OUT-OF-SCOPE###")  # as models that play users of τ²-bench end a dialogue
TIMEOUT_MS: Final = 120_000
MAX_TOKENS: Final = 512
_RULES: Final = (
    "You play a customer who talks to a service agent; the other side's messages are the agent's. Stay with the scenario: want "
    "what it says, know only what it says, and tell the agent a thing when it is asked for. Write what the customer says next, "
    "in one short message of your own words and nothing else. When all that the scenario wants is done, or refused for good, "
    f"write {STOPS[0]}; when you are passed on to somebody else, {STOPS[1]}; when the scenario does not say how to go on, "
    f"{STOPS[2]}."
)
Messages: TypeAlias = Sequence[WireMessage]
_Run = TypeVar("_Run")


class DialogueUser(Protocol):
    """Who speaks between the runs of a dialogue."""

    async def reply(self, messages: Messages) -> str | None:
        """The next words; None when the dialogue is over. Raises UpstreamError where a model plays the user and fails."""
        ...


@dataclass(frozen=True, slots=True)
class ModelUser:
    """A chat model that is told the scenario and sees the dialogue from the other side."""

    task: DialogueTask
    models: ChatModels
    target: ExpertTarget
    seed: int = 0

    async def reply(self, messages: Messages) -> str | None:
        """The next words; None once it writes one of ``STOPS``, or nothing."""
        request = ChatRequest(
            target=self.target,
            messages=[{"role": "system", "content": f"{_RULES}\n\n{_scenario(self.task)}"}, *map(_turned, messages)],
            max_tokens=MAX_TOKENS,
            timeout_ms=TIMEOUT_MS,
            temperature=0.0,
            seed=self.seed,
        )
        said = (await self.models.chat(request)).text.strip()
        return None if not said or any(stop in said for stop in STOPS) else said


@dataclass(frozen=True, slots=True)
class Users:
    """Who plays the users of a plan's dialogues: a model, or without one the script."""

    models: ChatModels | None = None
    target: ExpertTarget | None = None
    seed: int = 0

    def of(self, subject: Subject) -> DialogueUser | None:
        """The user of a subject; None where one request is the whole episode."""
        task = subject.source
        if not isinstance(task, DialogueTask):
            return None
        if self.models is None or self.target is None:
            return ScriptedUser(task)
        return ModelUser(task, self.models, self.target, self.seed)


async def converse(
    opening: str,
    run: Callable[[Messages, int], Awaitable[_Run]],
    answer: Callable[[_Run], str | None],
    user: DialogueUser | None,
    *,
    most: int,
) -> list[_Run]:
    """All runs of an episode, at least one and at most ``most``.

    ``run`` plays one, given all that was said and its number from 0; ``answer`` is what the agent said in it, or None
    after which no dialogue goes on. Raises what they raise.
    """
    messages: list[WireMessage] = [{"role": "user", "content": opening}]
    runs = [await run(messages, 0)]
    while user is not None and len(runs) < most and (told := answer(runs[-1])):
        messages = [*messages, {"role": "assistant", "content": told}]
        said = await user.reply(messages)
        if said is None:
            break
        messages = [*messages, {"role": "user", "content": said}]
        runs.append(await run(messages, len(runs)))
    return runs


def _scenario(task: DialogueTask) -> str:
    parts = {
        "Who you are": task.persona,
        "Why you call": task.opening,
        "What you know": task.known,
        "What you do not know": task.unknown,
        "What to do": task.instructions,
    }
    return "\n\n".join(f"{title}:\n{text}" for title, text in parts.items() if text)


def _turned(message: WireMessage) -> WireMessage:
    """The message from the user's side: what the agent said is what the model is asked."""
    return {"role": "user" if message.get("role") == "assistant" else "assistant", "content": message.get("content")}
