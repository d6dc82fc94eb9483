"""How figures are written for people: on the page and in the terminal alike."""

import math
from collections.abc import Callable
from typing import Final

from toolorchestra.worlds.statistics import Interval

UNKNOWN: Final = "–"
_LEAST_P: Final = 0.001


def percent(interval: Interval) -> str:
    """A share: ``81.2 % (77.0 to 84.9)``."""
    return _with_bounds(interval, lambda value: f"{100 * value:.1f}", " %")


def points(interval: Interval) -> str:
    """A difference of shares, in points."""
    return _with_bounds(interval, lambda value: f"{100 * value:+.1f}", "")


def usd(interval: Interval) -> str:
    """Dollars with three significant digits."""
    return _with_bounds(interval, dollars, "")


def times(interval: Interval) -> str:
    """A ratio."""
    return _with_bounds(interval, lambda value: f"{value:.2f}", " ×")


def plain(interval: Interval) -> str:
    """A number."""
    return _with_bounds(interval, lambda value: f"{value:.2f}", "")


def whole(interval: Interval) -> str:
    """A large number: ``12,345 (11,900 to 12,800)``."""
    return _with_bounds(interval, lambda value: f"{value:,.0f}", "")


def dollars(value: float) -> str:
    """``$12.34``, or three digits that mean something: ``$0.00198``."""
    if value == 0 or abs(value) >= 1:
        return f"${value:.2f}"
    return f"${value:.{2 - math.floor(math.log10(abs(value)))}f}"


def skill(measured: float | None, assumed: float) -> str:
    """What was measured, and in brackets what was drawn or assumed: ``86 % (74 %)``."""
    return f"{UNKNOWN if measured is None else f'{100 * measured:.0f} %'} ({100 * assumed:.0f} %)"


def p_value(value: float) -> str:
    """Three digits."""
    return f"< {_LEAST_P}" if value < _LEAST_P else f"{value:.3f}"


def _with_bounds(interval: Interval, write: Callable[[float], str], unit: str) -> str:
    if interval.value is None:
        return UNKNOWN
    low, high = (UNKNOWN if bound is None else write(bound) for bound in (interval.low, interval.high))
    return f"{write(interval.value)}{unit} ({low} to {high})"
