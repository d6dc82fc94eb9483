"""The report of a run as one HTML page, made from the files that the run leaves: report, metrics, sample rollouts."""

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final, TypeAlias

from toolorchestra.core.money import NANO_PER_USD
from toolorchestra.core.pages import page, section, table, verdict
from toolorchestra.training.grpo.curves import Curve, curve_svg

REPORT: Final = "report.json"
METRICS: Final = "metrics.jsonl"
ROLLOUTS: Final = "rollouts.jsonl"
PAGE: Final = "report.html"
SAMPLES: Final = 6  # groups that are shown whole
UNKNOWN: Final = "–"
Line: TypeAlias = Mapping[str, Any]


def write_page(folder: Path) -> Path:
    """Write the page of a run's folder, whole or not at all; its path."""
    report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    parts = _parts(report, _lines(folder / METRICS), _lines(folder / ROLLOUTS))
    draft = folder / f"{PAGE}.part"
    draft.write_text(page(report["title"], parts), encoding="utf-8")
    return draft.replace(folder / PAGE)


def _lines(file: Path) -> list[dict[str, Any]]:
    """The JSON lines of a file; none where there is no file."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def _parts(report: Line, metrics: Sequence[Line], groups: Sequence[Line]) -> Iterator[str]:
    yield f"<h1>{escape(report['title'])}</h1>"
    yield verdict(report["passed"], report["reasons"])
    yield f"<p>{report['steps']} steps in {report['seconds']:.0f} s.</p>"
    yield section("Before and after", _scores(report), "On tasks that no training has seen, greedily.")
    yield section("While it trained", "".join(map(curve_svg, _curves(metrics))), _about_curves(metrics))
    yield section("Sample rollouts", "".join(map(_group, _sampled(groups))), "Groups as they were played.")
    yield section("Data", f"<pre>{_json(report['data'])}</pre>")
    yield section("To do it again", f"<pre>{_json(report['settings'])}</pre>")


def _scores(report: Line) -> str:
    """A row per figure that both scores have; those of the oracle beside them."""
    before, after = report["before"] or {}, report["after"] or {}
    oracle = after or before
    rows = [
        ["solved", *(_percent(one.get("solved")) for one in (before, after)), _percent(oracle.get("oracle_solved"))],
        ["US dollars a task", *(_dollars(one.get("cost_nano_usd")) for one in (before, after, _oracle(oracle)))],
    ]
    for name in [name for name in ("worlds", "routes") if name in oracle]:
        keys = sorted({key for one in (before, after) for key in one.get(name, {})})
        cells = {key: [_plain(one.get(name, {}).get(key)) for one in (before, after)] for key in keys}
        rows += [[escape(f"{name}: {key}"), *some, ""] for key, some in cells.items()]
    return table(["", "before", "after", "oracle"], rows) if oracle else ""


def _oracle(score: Line) -> dict[str, Any]:
    return {"cost_nano_usd": score.get("oracle_cost_nano_usd")}


def _curves(metrics: Sequence[Line]) -> list[Curve]:
    shown = (
        ("solved", "solved", _share),
        ("US dollars a task", "cost_nano_usd", _dollars),
        ("reward", "reward", _two_digits),
        ("entropy of the route, nats", "route_entropy", _two_digits),
        ("groups that teach something", "kept_groups", _share),
    )
    points = {name: [(line["step"], line[name]) for line in metrics if name in line] for _, name, _ in shown}
    return [Curve(title, points[name], write) for title, name, write in shown]


def _about_curves(metrics: Sequence[Line]) -> str:
    return "By step, over episodes that chose their first tool freely." if metrics else ""


def _sampled(groups: Sequence[Line]) -> list[Line]:
    """Evenly from the first to the last."""
    if len(groups) <= SAMPLES:
        return list(groups)
    return [groups[round(place * (len(groups) - 1) / (SAMPLES - 1))] for place in range(SAMPLES)]


def _group(group: Line) -> str:
    rows = [_episode(one) for one in group["episodes"]]
    head = ["what was written", "outcome", "US dollars", "seconds", "reward", "terms", "advantage"]
    dropped = f' <span class="soft">teaches nothing: {escape(group["dropped"])}</span>' if group["dropped"] else ""
    return (
        f"<details><summary>Step {group['step'] + 1}, task {escape(group['task'])}{dropped}</summary>"
        f"<pre>{escape(group['prompt'])}</pre>{table(head, rows)}</details>"
    )


def _episode(one: Line) -> list[str]:
    said = "\n".join(one["written"]) + (f"\n(first tool drawn: {one['explored']})" if one["explored"] else "")
    terms = ", ".join(f"{name} {value:.2f}" for name, value in (one["terms"] or {}).items())
    return [
        f"<pre>{escape(said)}</pre>",
        escape(one["outcome"]),
        f"${escape(str(one['cost_usd']))}",
        f"{one['latency_ms'] / 1_000:.1f}",
        _two_digits(one["reward"]),
        escape(terms) or UNKNOWN,
        UNKNOWN if one["advantage"] is None else f"{one['advantage']:+.2f}",
    ]


def _json(document: Any) -> str:
    return escape(json.dumps(document, indent=2))


def _percent(share: float | None) -> str:
    return UNKNOWN if share is None else f"{100 * share:.1f} %"


def _share(share: float) -> str:
    return f"{100 * share:.0f} %"


def _two_digits(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.2f}"


def _dollars(nano_usd: float | None) -> str:
    """With three digits that mean something."""
    return UNKNOWN if nano_usd is None else f"${nano_usd / NANO_PER_USD:.3g}"


def _plain(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.3g}"
