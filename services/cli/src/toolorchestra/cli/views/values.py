"""How values look in tables: money exact, times short, tokens as in and out."""

from collections.abc import Mapping
from typing import Any, Final

from toolorchestra.core.money import format_usd

NOTHING: Final = "–"
MS_PER_SECOND: Final = 1_000


def usd(value: Any) -> str:
    """Dollars from a decimal string: ``"0.0012"`` → ``$0.0012``."""
    return NOTHING if value is None or value == "" else _dollars(str(value))


def nano_usd(value: Any) -> str:
    """Dollars from an integer of nano-dollars."""
    return _dollars(format_usd(value)) if isinstance(value, int) else NOTHING


def _dollars(amount: str) -> str:
    return f"-${amount[1:]}" if amount.startswith("-") else f"${amount}"


def seconds(milliseconds: Any) -> str:
    """Milliseconds as seconds: ``1234`` → ``1.23 s``; short times keep their milliseconds."""
    if not isinstance(milliseconds, int | float):
        return NOTHING
    return f"{milliseconds / MS_PER_SECOND:.3f} s" if milliseconds < MS_PER_SECOND else f"{milliseconds / MS_PER_SECOND:.2f} s"


def tokens(usage: Any) -> str:
    """An OpenAI usage object: ``12 → 34``, in and out."""
    if not isinstance(usage, Mapping):
        return NOTHING
    return f"{usage.get('prompt_tokens', 0)} → {usage.get('completion_tokens', 0)}"


def counted(number: int, noun: str) -> str:
    """``1 call``, ``2 calls``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def moment(value: Any) -> str:
    """A time, to the second: an ISO text loses its fractions and its T."""
    return str(value).replace("T", " ").partition(".")[0].partition("+")[0] if value else NOTHING


def text(value: Any) -> str:
    """Any JSON value in a cell; empty parts are left out."""
    match value:
        case None | "":
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(text(item) for item in value) or NOTHING
        case dict():
            said = {name: text(item) for name, item in value.items()}
            return ", ".join(f"{name}={item}" for name, item in said.items() if item != NOTHING) or NOTHING
        case _:
            return str(value)
