"""Curves of a training as SVG that follows the page's colours: one figure per picture, from 0 up, over the steps."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil
from typing import Final

from toolorchestra.core.pages import nice_step

WIDTH: Final = 360
HEIGHT: Final = 200
LEFT: Final = 64
RIGHT: Final = 16
TOP: Final = 28
BOTTOM: Final = 28


@dataclass(frozen=True, slots=True)
class Curve:
    """A figure by step. ``points`` are (step, value) in order of the steps, values not below 0; ``write`` shows a value."""

    title: str
    points: Sequence[tuple[int, float]]
    write: Callable[[float], str]


def curve_svg(curve: Curve) -> str:
    """The picture as an SVG element; empty for a curve without points."""
    if not curve.points:
        return ""
    told = f"{curve.title}: {curve.write(curve.points[0][1])} first, {curve.write(curve.points[-1][1])} last"
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(told)}">'
        f'<text class="title" x="{LEFT}" y="16">{escape(curve.title)}</text>{"".join(_drawn(curve))}</svg>'
    )


def _drawn(curve: Curve) -> Iterator[str]:
    first, last = curve.points[0][0], curve.points[-1][0]
    highest = max(value for _, value in curve.points)
    step = nice_step(highest or 1.0)
    top = step * max(1, ceil(highest / step - 1e-9))
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def across(number: int) -> float:
        return LEFT + (right - LEFT) * (number - first) / max(1, last - first)

    def upward(value: float) -> float:
        return bottom - (bottom - TOP) * value / top

    for number in range(round(top / step) + 1):
        y = upward(number * step)
        yield f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="tick" x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(curve.write(number * step))}</text>'
    for number in dict.fromkeys((first, last)):
        yield f'<text class="tick" x="{across(number):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{number}</text>'
    places = " ".join(f"{across(number):.1f},{upward(value):.1f}" for number, value in curve.points)
    yield f'<polyline class="line" points="{places}"/>'
