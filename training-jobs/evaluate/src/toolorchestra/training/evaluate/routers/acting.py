"""What a router does next, whichever it is: ask an expert, make the call that it proposed, or say what it said.

An expert replies with ``{"call": {"name": …, "arguments": {…}}}``, with ``{"answer": "…"}``, or with plain text, which is an
answer. Anything else (a refusal, a reply that was cut, a time-out) is no proposal.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from toolorchestra.training.evaluate.routers.situation import Situation, Step

GIVE_UP: Final = "I could not find out."


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask this expert what to do."""

    expert: str


@dataclass(frozen=True, slots=True)
class Make:
    """Call this function."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Say:
    """Answer."""

    text: str


Action: TypeAlias = Ask | Make | Say


class Chooser(Protocol):
    """The part in which routers differ. A chooser is a pure function of the situation and its seed."""

    def choose(self, situation: Situation) -> str | None:
        """The expert to ask now; None when there is nobody left to ask."""
        ...

    def goes_on(self, situation: Situation) -> bool:
        """Whether somebody else is asked after the last proposal failed."""
        ...


def next_action(chooser: Chooser, situation: Situation) -> Action:
    """The next action of a router."""
    if situation.closing:
        return Say(_last_words(situation))
    last = situation.steps[-1] if situation.steps else None
    if last is not None and is_expert(situation, last):
        action = proposal(last)
        if action is not None and not refused_before(situation, action):
            return action
        if not chooser.goes_on(situation):
            return Say(last.content.strip() or GIVE_UP) if last.ok and action is None else Say(GIVE_UP)
    expert = chooser.choose(situation)
    return Say(_last_words(situation)) if expert is None else Ask(expert)


def is_expert(situation: Situation, step: Step) -> bool:
    """Whether a step asked an expert."""
    return any(card.name == step.name for card in situation.experts)


def proposal(reply: Step) -> Make | Say | None:
    """What an expert's reply proposes; None if it proposes nothing."""
    if not reply.ok:
        return None
    text = reply.content.strip()
    if not text.startswith("{"):
        return Say(text) if text else None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return _proposed(found) if isinstance(found, dict) else None


def _proposed(found: Mapping[str, Any]) -> Make | Say | None:
    call, answer = found.get("call"), found.get("answer")
    if isinstance(call, dict) and isinstance(call.get("name"), str) and isinstance(call.get("arguments"), dict):
        return Make(call["name"], call["arguments"])
    return Say(answer) if isinstance(answer, str) and answer.strip() else None


def refused_before(situation: Situation, action: Make | Say) -> bool:
    """Whether this very call was made before and refused: it would be again."""
    if isinstance(action, Say):
        return False
    wanted = Step(action.name, action.arguments, "").call
    return any(step.call == wanted and not step.ok for step in situation.made)


def failures(situation: Situation) -> int:
    """How many proposals failed so far: replies that propose nothing, and calls that were refused."""
    replies = sum(proposal(step) is None for step in situation.asked)
    return replies + sum(not step.ok for step in situation.made)


def _last_words(situation: Situation) -> str:
    """The newest answer of an expert, when nothing more can be done."""
    for step in reversed(situation.asked):
        said = proposal(step)
        if isinstance(said, Say):
            return said.text
    return GIVE_UP
