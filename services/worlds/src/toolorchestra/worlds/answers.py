"""Answers that tell given facts, in several styles: what verification offers to the checker."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from toolorchestra.worlds.session import CallResult
from toolorchestra.worlds.state import money_text
from toolorchestra.worlds.tasks import Fact
from toolorchestra.worlds.values import Kind

_SIGNS: Final[Mapping[str, str]] = {"GBP": "£", "EUR": "€", "USD": "$"}


def tell(facts: Sequence[Fact], *, currency: str, style: int = 0) -> str:
    """A sentence per fact; styles differ in words and in how amounts and dates are written."""
    words = [
        f"{_STYLES[style % len(_STYLES)](fact, currency)}" for fact in sorted(facts, key=lambda one: one.kind is not Kind.YESNO)
    ]
    frame = _FRAMES[style % len(_FRAMES)]
    return frame.format(" ".join(words))


def dump(results: Sequence[CallResult]) -> str:
    """Everything that calls returned, as somebody would paste it who does not know what was asked."""
    return json.dumps([result.content for result in results], ensure_ascii=False)


STYLES: Final = 3
_FRAMES: Final = ("{}", "All done, thanks for waiting. {} Is there anything else?", "Hello! I looked into it. {}")


def _plain(fact: Fact, currency: str) -> str:
    match fact.kind:
        case Kind.MONEY:
            return f"{_name(fact)}: {_SIGNS.get(currency, currency + ' ')}{money_text(int(fact.value))}."
        case Kind.YESNO:
            return "Yes." if fact.value else "No."
        case _:
            return f"{_name(fact)}: {fact.value}."


def _wordy(fact: Fact, currency: str) -> str:
    match fact.kind:
        case Kind.MONEY:
            return f"The {_name(fact)} comes to {int(fact.value) / 100:,.2f} {currency}."
        case Kind.DATE:
            return f"The {_name(fact)} is {_day(str(fact.value))}."
        case Kind.DATETIME:
            moment = _moment(str(fact.value))
            return f"The {_name(fact)} is {moment:%H:%M} on {_day(str(fact.value))}."
        case Kind.YESNO:
            return f"{'Yes' if fact.value else 'No'}, that is how it stands."
        case Kind.NUMBER:
            return f"The {_name(fact)} is {fact.value:,}."
        case _:
            return f"The {_name(fact)} is {fact.value}."


def _american(fact: Fact, currency: str) -> str:
    match fact.kind:
        case Kind.MONEY:
            return f"You will see {currency} {money_text(int(fact.value))} as {_name(fact)}."
        case Kind.DATE:
            return f"{_name(fact)} - {_moment(str(fact.value)):%B} {_moment(str(fact.value)).day}, {str(fact.value)[:4]}."
        case Kind.DATETIME:
            moment = _moment(str(fact.value))
            return f"{_name(fact)} - {moment:%B} {moment.day}, {moment.year} at {moment:%I:%M %p}."
        case Kind.ID:
            return f"Please note **{fact.value}** ({_name(fact)})."
        case Kind.YESNO:
            return f"{'Yes' if fact.value else 'No'}."
        case _:
            return f"**{fact.value}** is the {_name(fact)}."


def _name(fact: Fact) -> str:
    """The fact's name without figures, which would read as values."""
    return "".join(letter for letter in fact.name.replace("_", " ") if not letter.isdigit()).strip()


def _day(value: str) -> str:
    moment = _moment(value)
    return f"{moment.day} {moment:%B %Y}"


def _moment(value: str) -> datetime:
    return datetime.fromisoformat(value)


_STYLES: Final[Sequence[Callable[[Fact, str], str]]] = (_plain, _wordy, _american)
