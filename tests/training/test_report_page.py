"""The page of a run shows how it went, without anything from elsewhere, and never what an episode wrote as markup."""

import json
import re

import pytest

from toolorchestra.training.grpo.curves import Curve, curve_svg
from toolorchestra.training.grpo.report_page import write_page

SCORE = {"tasks": 400, "solved": 0.5, "oracle_solved": 1.0, "cost_nano_usd": 20_000_000.0, "oracle_cost_nano_usd": 3_000_000.0}
REPORT = {
    "title": "Run <1>",
    "settings": {"seed": 0},
    "data": {"licences": ["CC0"]},
    "before": SCORE | {"routes": {"rare": 400}},
    "after": SCORE | {"solved": 0.981, "routes": {"rare": 90, "calculator": 310}},
    "passed": False,
    "reasons": ["it cost 1.30 times what the oracle does, and 1.15 are allowed"],
    "stopped": None,
    "seconds": 181.4,
    "steps": 3,
    "model": None,
}
STEP = {"solved": 0.4, "reward": 0.3, "cost_nano_usd": 2.5e7, "route_entropy": 1.2, "kept_groups": 0.75}
EPISODE = {
    "written": ["call onyx {}", "answer <script>alert(1)</script>"],
    "explored": "onyx",
    "outcome": "wrong",
    "cost_usd": "0.002",
    "latency_ms": 1_500,
    "reward": 0.25,
    "terms": {"cost": 0.5},
    "advantage": -0.5,
}
LOST = EPISODE | {"explored": None, "reward": None, "terms": None, "advantage": None}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    lines = [json.dumps({"step": step, **STEP, "reward": 0.2 * step}) for step in (1, 2, 3)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    groups = [
        {"step": step, "task": f"7/{step}", "prompt": "system & user", "dropped": None, "std": 0.1, "episodes": [EPISODE, LOST]}
        for step in range(0, 100, 10)
    ]
    (tmp_path / "rollouts.jsonl").write_text("".join(json.dumps(group) + "\n" for group in groups))
    return tmp_path


def test_the_page_shows_gate_scores_curves_and_samples(folder):
    page = write_page(folder).read_text()
    assert "Gate: not passed" in page
    assert "it cost 1.30 times what the oracle does" in page
    assert "<td>50.0 %</td><td>98.1 %</td><td>100.0 %</td>" in page
    assert "<td>$0.02</td><td>$0.02</td><td>$0.003</td>" in page
    assert "routes: calculator" in page
    assert page.count("<polyline") == 5
    assert page.count("<details>") == 6
    assert [int(step) for step in re.findall(r"<summary>Step (\d+)", page)] == [1, 21, 41, 51, 71, 91]
    assert "(first tool drawn: onyx)" in page
    assert "3 steps in 181 s" in page
    assert "CC0" in page


def test_nothing_of_it_comes_from_elsewhere_and_nothing_that_was_written_is_run(folder):
    page = write_page(folder).read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "Run &lt;1&gt;" in page
    assert not re.search(r"(src|href)=|url\(|@import", page)
    assert "default-src 'none'" in page


def test_a_run_without_gate_steps_or_samples_has_a_page_too(tmp_path):
    report = REPORT | {
        "before": None,
        "after": None,
        "reasons": ["it was told to stop"],
        "stopped": "it was told to stop",
        "steps": 0,
    }
    (tmp_path / "report.json").write_text(json.dumps(report))
    page = write_page(tmp_path).read_text()
    assert "it was told to stop" in page
    assert "<polyline" not in page
    assert "Before and after" not in page


def test_a_curve_begins_at_zero_and_ends_where_it_does():
    svg = curve_svg(Curve("solved", [(1, 0.0), (5, 0.5), (9, 0.25)], lambda value: f"{value:.1f}"))
    (places,) = re.findall(r'points="([^"]+)"', svg)
    first, middle, last = [tuple(map(float, place.split(","))) for place in places.split()]
    assert first[0] < middle[0] < last[0]
    assert first[1] > last[1] > middle[1]
    assert re.findall(r">([\d.]+)</text>", svg) == ["0.0", "0.1", "0.2", "0.3", "0.4", "0.5", "1", "9"]


def test_a_curve_of_zeros_or_of_one_step_can_be_drawn():
    assert "<polyline" in curve_svg(Curve("solved", [(3, 0.0)], str))
    assert curve_svg(Curve("solved", [], str)) == ""
