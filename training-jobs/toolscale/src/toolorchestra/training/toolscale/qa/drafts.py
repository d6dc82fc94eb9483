"""What every generator of questions makes: a draft, which becomes a question when it is worth having."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from random import Random
from typing import Final, TypeAlias

from toolorchestra.training.toolscale.wording import expand
from toolorchestra.worlds.questions import Need
from toolorchestra.worlds.values import Kind

CALCULATOR, PYTHON, SEARCH = "calculator", "python", "local-search"
HALF: Final = Fraction(1, 2)


class UnsuitableDraftError(Exception):
    """The numbers drawn make no good question, e.g. because the result is a tie in rounding; another draw may."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A question with its answer. ``tool`` and ``argument`` are the call that brings the answer, where there is one."""

    template: str
    question: str
    kind: Kind
    value: str | int | float
    topic: str
    need: Need
    cluster: str
    steps: int = 1
    others: tuple[str, ...] = ()
    tool: str | None = None
    argument: str = ""


Generator: TypeAlias = Callable[[Random], Draft]


def say(random: Random, *templates: str, **values: object) -> tuple[int, str]:
    """One of the templates, with its choices made and its values put in, and which it was."""
    number = random.randrange(len(templates))
    return number, expand(templates[number], random).format(**values)


def cents(amount: Fraction) -> int:
    """US dollars as whole cents. Raises UnsuitableDraftError for a tie, which two people round in two ways."""
    return _rounded(amount * 100)


def rounded(value: Fraction, places: int) -> int | float:
    """A number with so many decimal places. Raises UnsuitableDraftError for a tie."""
    whole = _rounded(value * 10**places)
    return float(Fraction(whole, 10**places)) if places else whole


def usd(amount: int) -> str:
    """Whole cents as US dollars: ``1250`` → ``$12.50``, ``1200`` → ``$12``."""
    return f"${amount // 100}" if amount % 100 == 0 else f"${amount / 100:.2f}"


def _rounded(value: Fraction) -> int:
    low = value.numerator // value.denominator
    rest = value - low
    if rest == HALF:
        raise UnsuitableDraftError
    return low + (rest > HALF)
