"""The user of a dialogue, played from the scenario without a model: the same agent gets the same replies, every time.

τ²-bench describes its users to a model, in the second person ("You are Emma Kim."). The script speaks of itself instead. It
opens with the reason for the call, tells what it knows when it is asked for it, says what the scenario has it say if the agent
says something, agrees to what it is to confirm, and is content once the agent asks nothing more. It is no match for a model
that plays a difficult customer; it costs nothing and makes nothing up.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from toolorchestra.core.chat import WireMessage, content_text
from toolorchestra.training.evaluate.benchmarks.tau2 import DialogueTask

YES: Final = "Yes, please."
LOST: Final = "I have told you all I know about it."
MOST_LOST: Final = 2  # so often it says so, then it gives up
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+(?=[A-Z])|\n+")
_FIRST: Final = re.compile(r"\b(?:I|I'm|I'd|I've|my|me|mine)\b")
_CONDITION: Final = re.compile(  # If the agent asks for …, say that …
    r"""^If\ (?:the\ |your\ )?(?:service\ |customer\ )?agent\ (?P<when>[^,]+),\ (?:then\ )?(?:you\ )?(?:should\ )?
    (?P<verb>say|mention|tell|answer|reply|explain|respond|ask)\b(?:\ (?:them|him|her|the\ agent))?
    (?:\ that)?:?\ (?P<what>.+)$""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_ASKS: Final = re.compile(
    r"\?|\b(?:please (?:provide|tell|give|confirm|share|specify)|let me know|i need (?:your|to know))\b", re.IGNORECASE
)
_CONFIRMS: Final = re.compile(
    r"""\b(?:confirm|proceed|go\ ahead|shall\ i|should\ i|would\ you\ like\ me|do\ you\ want\ me|do\ you\ agree
    |is\ (?:that|this)\ (?:ok|okay|right|correct))\b|yes\s*/\s*no""",
    re.IGNORECASE | re.VERBOSE,
)
_OPEN: Final = re.compile(r"\b(?:details|information|identity|identify|what else|all you know)\b", re.IGNORECASE)
_WORD: Final = re.compile(r"[a-z]+")
_IDLE: Final = frozenset(
    {
        "and",
        "any",
        "are",
        "as",
        "at",
        "be",
        "by",
        "can",
        "could",
        "do",
        "does",
        "for",
        "from",
        "give",
        "have",
        "how",
        "if",
        "in",
    }
    | {
        "is",
        "it",
        "its",
        "know",
        "let",
        "like",
        "may",
        "me",
        "my",
        "need",
        "of",
        "on",
        "or",
        "please",
        "provide",
        "tell",
        "that",
    }
    | {"the", "this", "to", "us", "was", "we", "what", "when", "where", "which", "will", "with", "would", "you", "your", "an"}
)
_ALIKE: Final = {
    "who": "name", "mail": "email", "booking": "reservation", "confirmation": "reservation", "identifier": "id",
    "username": "id", "account": "id", "phone": "telephone", "zipcode": "zip", "postcode": "zip",
}  # fmt: skip
_BEFORE_ME: Final = "to|for|with|from|told|tells?|gives?|gave|allows?|lets?|helps?|asks?|asked|of|by|at|on|about"
_TURNED: Final = (
    (r"\byou are\b", "I am"), (r"\byou were\b", "I was"), (r"\byou're\b", "I'm"), (r"\byou've\b", "I've"),
    (r"\byou'd\b", "I'd"), (r"\byou'll\b", "I'll"), (r"\byourself\b", "myself"), (r"\byours\b", "mine"),
    (r"\byour\b", "my"), (rf"\b({_BEFORE_ME}) you\b", r"\1 me"), (r"\byou\b", "I"),
)  # fmt: skip


def spoken(text: str) -> str:
    """What a scenario says of somebody, said by them: ``You want your book.`` → ``I want my book.``

    A text that speaks in the first person already stays as it is.
    """
    if _FIRST.search(text):
        return text.strip()
    for pattern, own in _TURNED:
        text = re.sub(pattern, own, text, flags=re.IGNORECASE)
    plain = " ".join(text.split())
    return re.sub(r"(^|[.!?] )(my|mine|myself)\b", lambda match: match[1] + match[2].capitalize(), plain)


def sentences(text: str) -> list[str]:
    """The sentences and lines of a text."""
    return [part.strip() for part in _SENTENCE.split(text) if part.strip()]


@dataclass(frozen=True, slots=True)
class _Condition:
    """What the scenario has the user say if the agent says something."""

    when: frozenset[str]
    what: str


class ScriptedUser:
    """The user of one dialogue. What it says next follows from the messages alone."""

    def __init__(self, task: DialogueTask) -> None:
        self._known = sentences(task.known)
        self._unknown = sentences(task.unknown)
        self._conditions = [one for line in sentences(task.instructions) if (one := _condition(line)) is not None]

    async def reply(self, messages: Sequence[WireMessage]) -> str | None:
        """The user's next words after the agent's; None when there is nothing more to say."""
        agent = next((content_text(one.get("content")) for one in reversed(messages) if one.get("role") == "assistant"), "")
        said = [content_text(one.get("content")) for one in messages if one.get("role") == "user"]
        return self._reply(agent, said)

    def _reply(self, agent: str, said: Sequence[str]) -> str | None:
        before, heard = "\n".join(said), _words(agent)
        due = next((one.what for one in self._conditions if one.when <= heard and one.what not in before), None)
        if due is not None or not _ASKS.search(agent):
            return due
        told = self._told(agent, heard, before)
        if told:
            return " ".join(told)
        if _CONFIRMS.search(agent):
            return YES
        return LOST if said.count(LOST) < MOST_LOST else None

    def _told(self, agent: str, heard: frozenset[str], before: str) -> list[str]:
        """What is known of what is asked for and was not said before, and what is asked for in vain."""
        fresh = [line for line in self._known if spoken(line) not in before]
        asked = fresh if _OPEN.search(agent) else [line for line in fresh if _topic(line) & heard]
        lost = [line for line in self._unknown if _topic(line) & heard and spoken(line) not in before]
        return [spoken(line) for line in (*asked, *lost)]


def _condition(line: str) -> _Condition | None:
    found = _CONDITION.match(line)
    when = _words(re.sub(r"^(?:asks?|tells?|says?|insists?)\b(?: you)?", "", found["when"])) if found else None
    if found is None or not when:
        return None
    what = spoken(found["what"])
    return _Condition(when, f"I would like to ask {what}" if found["verb"].lower() == "ask" else f"{what[0].upper()}{what[1:]}")


def _topic(line: str) -> frozenset[str]:
    """The words by which a question fits what is known; who somebody is answers a question for their name."""
    names = re.match(r"you(?:r name is| are) [A-Z]", line, re.IGNORECASE)
    return _words(line) | (frozenset({"name"}) if names else frozenset())


def _words(text: str) -> frozenset[str]:
    found = (word for word in _WORD.findall(text.lower()) if word not in _IDLE and len(word) > 1)
    plain = (word.removesuffix("s") if len(word) > 3 and not word.endswith("ss") else word for word in found)  # noqa: PLR2004 - "gas"
    return frozenset(_ALIKE.get(word, word) for word in plain)
