"""The Pareto picture: what each policy costs against how often it is right, as SVG that follows the page's colours."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from toolorchestra.core.pages import TICKS, css, nice_step
from toolorchestra.training.evaluate import wording
from toolorchestra.training.evaluate.report import PolicyFigures

WIDTH: Final = 760
HEIGHT: Final = 400
LEFT: Final = 56
RIGHT: Final = 150
TOP: Final = 16
BOTTOM: Final = 48
RADIUS: Final = 5
LABEL_GAP: Final = 15
LABEL_WIDTH: Final = 130
LOG_FROM: Final = 20  # when the dearest costs this many times the cheapest


@dataclass(frozen=True, slots=True)
class Axis:
    """Where values lie on the picture, and which are written beside it."""

    place: Callable[[float], float]
    ticks: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """One policy; ``low`` and ``high`` bound its success."""

    name: str
    cost: float
    success: float
    low: float
    high: float
    on_front: bool


def pareto_svg(policies: Sequence[PolicyFigures]) -> str:
    """The picture as an SVG element; empty when no policy has both figures."""
    points = [point for figures in policies if (point := _point(figures)) is not None]
    if not points:
        return ""
    across = cost_axis([point.cost for point in points])
    upward = success_axis([point.low for point in points], [point.high for point in points])
    body = [*_grid(across, upward), *_front(points, across, upward), *_points(points, across, upward)]
    front = ", ".join(point.name for point in points if point.on_front)
    title = f"Success against cost per task of {len(points)} policies; the front is {front}"
    return (
        f'<svg class="pareto" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        + "".join(body)
        + "</svg>"
    )


_COLOURS: Final = {"back": "#fff", "ink": "#1b1f24", "soft": "#59636e", "line": "#d6dbe1", "accent": "#0a5fb4"}
_DRAWN: Final = (".grid", ".tick", ".front", ".whisker", ".best", "svg g")


def pareto_file(policies: Sequence[PolicyFigures]) -> str:
    """The picture as a file of its own, with the page's rules for it; empty when there is nothing to show."""
    picture = pareto_svg(policies)
    if not picture:
        return ""
    rules = "".join(line for line in css().splitlines() if line.startswith(_DRAWN))
    for name, colour in _COLOURS.items():  # not every program that shows a picture knows variables
        rules = rules.replace(f"var(--{name})", colour)
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
    body = picture.removeprefix("<svg ").replace("</svg>", f"<style>svg{{font:12px system-ui,sans-serif}}{rules}</style></svg>")
    body = body.replace(">", f'><rect width="{WIDTH}" height="{HEIGHT}" fill="{_COLOURS["back"]}"/>', 1)
    return f"{opening}{body}\n"


def _point(figures: PolicyFigures) -> Point | None:
    cost, success = figures.rates.cost_per_task, figures.rates.success
    if cost.value is None or success.value is None:
        return None
    low = success.value if success.low is None else success.low
    high = success.value if success.high is None else success.high
    return Point(figures.policy, cost.value, success.value, low, high, figures.on_front)


def cost_axis(costs: Sequence[float]) -> Axis:
    """Linear from 0, or by powers of ten when costs lie far apart; what is free then stands at the left edge."""
    paid = [cost for cost in costs if cost > 0]
    high = max(costs)
    width = WIDTH - LEFT - RIGHT
    if not paid or high / min(paid) < LOG_FROM:
        step = nice_step(high * 1.05 or 1.0)
        top = step * math.ceil(high * 1.02 / step) or step
        return Axis(lambda cost: LEFT + width * cost / top, tuple(step * n for n in range(round(top / step) + 1)))
    first, last = math.floor(math.log10(min(paid))), math.ceil(math.log10(high * 1.02))
    first -= len(paid) < len(costs)  # a decade of room between the cheapest and what is free

    def place(cost: float) -> float:
        return LEFT + width * (math.log10(cost) - first) / (last - first) if cost > 0 else LEFT

    free = [0.0] if len(paid) < len(costs) else [10.0**first]
    return Axis(place, (*free, *(10.0**power for power in range(first + 1, last + 1))))


def success_axis(lows: Sequence[float], highs: Sequence[float]) -> Axis:
    """Tenths that hold all intervals, at least two of them."""
    first, last = math.floor(10 * min(lows)), math.ceil(10 * max(highs) - 1e-9)
    last = min(10, max(last, first + 2))
    first = min(first, last - 2)
    height = HEIGHT - TOP - BOTTOM
    stride = math.ceil((last - first) / TICKS)
    ticks = tuple(n / 10 for n in range(first, last + 1, stride))
    return Axis(lambda success: TOP + height * (1 - (10 * success - first) / (last - first)), ticks)


def _grid(across: Axis, upward: Axis) -> Iterator[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    for tick in upward.ticks:
        y = upward.place(tick)
        yield f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text class="tick" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{100 * tick:.0f} %</text>'
    for tick in across.ticks:
        x = across.place(tick)
        yield f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>'
        yield f'<text class="tick" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{_dollars(tick)}</text>'
    yield f'<text class="tick" x="{(LEFT + right) / 2}" y="{HEIGHT - 8}" text-anchor="middle">US dollars per task</text>'


def _dollars(tick: float) -> str:
    return f"${tick:.9f}".rstrip("0").rstrip(".")


def _front(points: Sequence[Point], across: Axis, upward: Axis) -> Iterator[str]:
    """A staircase: between two policies one gets the success of the cheaper one."""
    front = sorted((point for point in points if point.on_front), key=lambda point: (point.cost, point.success))
    corners = [f"M{across.place(front[0].cost):.1f},{upward.place(front[0].success):.1f}"] if front else []
    corners += [f"H{across.place(point.cost):.1f}V{upward.place(point.success):.1f}" for point in front[1:]]
    yield f'<path class="front" d="{"".join(corners)}H{WIDTH - RIGHT}"/>'


def _points(points: Sequence[Point], across: Axis, upward: Axis) -> Iterator[str]:
    heights = _label_heights([(across.place(point.cost), upward.place(point.success)) for point in points])
    for point, height in zip(points, heights, strict=True):
        x, y, kind = across.place(point.cost), upward.place(point.success), "best" if point.on_front else "other"
        told = f"{point.name}: {100 * point.success:.1f} % right, {wording.dollars(point.cost)} per task"
        yield (
            f'<g class="{kind}"><title>{escape(told)}</title>'
            f'<path class="whisker" d="M{x:.1f},{upward.place(point.low):.1f}V{upward.place(point.high):.1f}"/>'
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS}"/>'
            f'<text x="{x + RADIUS + 5:.1f}" y="{height + 4:.1f}">{escape(point.name)}</text></g>'
        )


def _label_heights(places: Sequence[tuple[float, float]]) -> list[float]:
    """The height of each point's label: beside it, or so much lower that it covers no other label."""
    placed: dict[int, tuple[float, float]] = {}
    for index in sorted(range(len(places)), key=lambda one: places[one][1]):
        x, height = places[index]
        for other_x, taken in sorted(placed.values(), key=lambda place: place[1]):
            if abs(other_x - x) < LABEL_WIDTH and abs(taken - height) < LABEL_GAP:
                height = taken + LABEL_GAP
        placed[index] = (x, height)
    return [placed[index][1] for index in range(len(places))]
