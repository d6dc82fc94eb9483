"""The simulated user behind the client's tool ``ask_user``: tells what the user of a task knows, when it is asked for.

After τ-bench's user simulator (arXiv 2406.12045), without a model: the question is matched to what the user knows by its words,
so that the same question always gets the same answer, and nothing is told that was not asked for.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from toolorchestra.core.loop.state import CallState
from toolorchestra.worlds.tasks import User

ASK_USER: Final = "ask_user"
ASK_USER_TOOL: Final[Mapping[str, Any]] = {
    "type": "function",
    "function": {
        "name": ASK_USER,
        "description": "Ask the user who made the request for something that they have not said. They know what is theirs, "
        "such as dates and names, and often no numbers of bookings or orders.",
        "parameters": {
            "type": "object",
            "properties": {"question": {"type": "string", "minLength": 1, "description": "The question, one thing at a time."}},
            "required": ["question"],
            "additionalProperties": False,
        },
    },
}
_WORD: Final = re.compile(r"[a-z]+")
_IDLE: Final = frozenset(
    {"a", "an", "and", "can", "could", "do", "for", "give", "i", "in", "is", "it", "me", "my", "of", "on", "or", "please", "s"}
    | {"tell", "that", "the", "this", "to", "us", "was", "what", "which", "with", "you", "your"}
)
_ALIKE: Final[Mapping[str, str]] = {
    "date": "day", "when": "day", "mail": "email", "address": "address", "number": "number", "id": "number", "amount": "most",
    "limit": "most", "budget": "most", "who": "name", "from": "origin", "start": "origin", "where": "destination",
    "goal": "destination", "pay": "purse", "payment": "purse", "paid": "purse", "refund": "paid", "many": "quantity",
}  # fmt: skip
LOST: Final = "I'm not sure what you mean. I've told you what I know."


class SimulatedUser:
    """Answers questions as the user of a task would."""

    def __init__(self, user: User) -> None:
        self._user = user

    def answer(self, question: str) -> str:
        """What the user says: the values asked for, that they do not know, or that they do not understand."""
        asked = _words(question)
        known = [name for name in self._user.known if _fits(name, asked)]
        unknown = [name for name in self._user.unknown if _fits(name, asked)]
        exact = [name for name in known if _words(name) <= asked]
        told = [f"{_plain(name)}: {self._user.known[name]}." for name in exact or known]
        told = [] if unknown and not exact else told
        lost = [f"I don't know the {_plain(name).lower()}." for name in unknown]
        return " ".join([*told, *lost]) or LOST


def answering(user: User) -> Callable[[CallState], Awaitable[str]]:
    """Who answers calls of ``ask_user`` in an episode that is played in memory."""
    simulated = SimulatedUser(user)

    async def answer(call: CallState) -> str:
        return simulated.answer(str(call.intent.arguments.get("question", "")))

    return answer


def question_for(name: str) -> str:
    """A question that gets the value of this name."""
    return f"What is the {name.replace('_', ' ')}?"


def _fits(name: str, asked: frozenset[str]) -> bool:
    """Whether the question has the name's words, or all but one of three or more."""
    words = _words(name)
    return bool(words) and len(words & asked) >= max(1, len(words) - (len(words) > 1))


def _words(text: str) -> frozenset[str]:
    return frozenset(_stems(_WORD.findall(text.lower().replace("_", " "))))


def _stems(words: Iterable[str]) -> Iterator[str]:
    for word in words:
        if word not in _IDLE or word in _ALIKE:
            plain = word.removesuffix("s") if len(word) > 3 and not word.endswith("ss") else word  # noqa: PLR2004 - "is"
            yield plain
            if plain in _ALIKE:
                yield _ALIKE[plain]


def _plain(name: str) -> str:
    return name.replace("_", " ").capitalize()
