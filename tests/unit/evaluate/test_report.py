"""The report: same records, same bytes; nothing from elsewhere; partial and simulated results say so."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from random import Random

import pytest
from rich.console import Console

from toolorchestra.core.resources.orchestrator import Weights
from toolorchestra.training.evaluate.errors import InvalidPlanError
from toolorchestra.training.evaluate.output import write_report
from toolorchestra.training.evaluate.page import to_html
from toolorchestra.training.evaluate.records import Ceiling, ErrorKind, Recorded, RecordFile, Stopped, read_records
from toolorchestra.training.evaluate.report import Plan, build_report, to_json
from toolorchestra.training.evaluate.terminal import print_report
from toolorchestra.training.evaluate.testing import Habit, an_episode, made_up
from toolorchestra.worlds.statistics import Drawing, Gate

HABITS = {
    "oracle": Habit(1, 0.012),
    "strongest": Habit(0.7, 0.05, strong=1.0),
    "manager": Habit(0.72, 0.015, strong=0.3),
    "cheapest": Habit(0.35, 0.002, strong=0.0),
    "nothing": Habit(0, 0.0),
}
EPISODES = made_up(HABITS)
PLAN = Plan(
    policy="manager",
    baseline="strongest",
    untrained="cheapest",
    gate=Gate(min_tasks=100),
    drawing=Drawing(resamples=300),
    run_link="https://console.example.org/runs/{run_id}",
    settings={"price book": "made up"},
)
GOLDEN = Path(__file__).parent / "golden" / "report.txt"


@pytest.fixture(scope="module")
def report():
    return build_report(Recorded(episodes=tuple(EPISODES)), PLAN)


def printed(report):
    console = Console(width=160, file=StringIO())
    print_report(report, console)
    return "".join(f"{line.rstrip()}\n" for line in console.file.getvalue().splitlines())


def test_the_report_of_known_records_is_the_known_one(report):
    """Change the file only with a reason: it is what people read."""
    assert printed(report) == GOLDEN.read_text(encoding="utf-8")


def test_a_rerun_gives_the_same_bytes_whatever_the_order_of_records(report):
    shuffled = Random(1).sample(EPISODES, len(EPISODES))
    again = build_report(Recorded(episodes=tuple(shuffled)), PLAN)
    assert to_json(again) == to_json(report)
    assert to_html(again) == to_html(report)


def test_another_policy_in_the_report_changes_no_figure_of_the_others(report):
    fewer = build_report(Recorded(episodes=tuple(e for e in EPISODES if e.policy != "nothing")), PLAN)
    rates = {one.policy: one.rates for one in report.policies}
    assert all(one.rates == rates[one.policy] for one in fewer.policies)


def test_an_oracle_scores_exactly_one_and_doing_nothing_exactly_zero(report):
    scores = {one["policy"]: one["rates"]["success"]["value"] for one in json.loads(to_json(report))["policies"]}
    assert scores["oracle"] == 1.0
    assert scores["nothing"] == 0.0


def test_the_primary_comparison_is_not_corrected_and_the_others_are(report):
    primary, *others = report.comparisons
    assert (primary.policy, primary.baseline, primary.primary) == ("manager", "strongest", True)
    alone = build_report(
        Recorded(episodes=tuple(e for e in EPISODES if e.policy in ("manager", "strongest"))), replace(PLAN, untrained=None)
    )
    assert alone.comparisons[0].p_success == primary.p_success
    assert alone.comparisons[0].p_cost < primary.p_cost
    assert not any(one.primary for one in others)


def test_the_front_holds_the_oracle_and_not_the_strongest(report):
    front = {one.policy for one in report.policies if one.on_front}
    assert front == {"oracle", "cheapest", "nothing"}


def test_the_gate_gives_its_reasons(report):
    assert not report.gate.passed
    cheaper = Plan(policy="oracle", baseline="strongest", gate=Gate(min_tasks=200, cost_ratio=0.5), drawing=PLAN.drawing)
    assert build_report(Recorded(episodes=tuple(EPISODES)), cheaper).gate.passed
    apart = (an_episode(), an_episode(task="t1", policy="old"))
    none = build_report(Recorded(episodes=apart), Plan(policy="main", baseline="old", gate=Gate()))
    assert none.gate.failures == ("main and old have no task in common",)


def test_the_gate_stays_shut_for_partial_results_and_a_broken_environment():
    lost = [an_episode(policy="oracle", task=f"x{n}", success=False, error=ErrorKind.ENVIRONMENT) for n in range(50)]
    stopped = Stopped(reason="the budget is spent", done=1, planned=2)
    plan = Plan(policy="oracle", baseline="strongest", gate=Gate(min_tasks=200), drawing=PLAN.drawing)
    report = build_report(Recorded(episodes=(*EPISODES, *lost), stopped=stopped), plan)
    assert report.gate.failures == (
        "the evaluation is partial",
        "20.0% of the episodes of oracle failed through their environment; the limit is 5.0%",
    )


def test_worst_cases_are_first_those_that_others_solved_and_lead_to_their_runs(report):
    first = report.worst[0]
    assert first.policy == "manager"
    assert {"oracle", "strongest"} <= set(first.others)
    assert re.fullmatch(r"https://console\.example\.org/runs/run-manager-\d+", first.link)
    assert [len(one.others) for one in report.worst] == sorted((len(one.others) for one in report.worst), reverse=True)


def test_worst_cases_of_all_are_those_of_policies_that_somebody_could_have():
    plan = replace(PLAN, policy=None, gate=None, bounds=frozenset({"nothing", "oracle"}))
    worst = build_report(Recorded(episodes=tuple(EPISODES)), plan).worst
    assert len(worst) == 10
    assert {one.policy for one in worst} <= {"cheapest", "manager", "strongest"}


def test_partial_simulated_and_failed_results_say_so(tmp_path):
    with RecordFile(tmp_path / "records.jsonl") as records:
        for episode in EPISODES[:12]:
            records.append(episode)
        records.append(an_episode(policy="manager", task="t99", success=False, error=ErrorKind.ENVIRONMENT))
        records.stop("the budget of 0.10 USD is spent", planned=1_000)
    report = build_report(read_records(tmp_path / "records.jsonl"), Plan(baseline="strongest", drawing=PLAN.drawing))
    assert report.notes[:3] == (
        "Partial: the budget of 0.10 USD is spent; 13 of 1000 episodes are recorded.",
        "Simulated: in 12 of 13 episodes experts or users were simulated.",
        "Failed through their environment and left out of all rates: 1 of 13 episodes.",
    )
    lacking = [note for note in report.notes if "lack" in note]
    assert lacking == ["cheapest, manager, nothing lack 1 of 3 tasks; compare them by the paired figures only."]
    assert any("clusters only" in note for note in report.notes)
    assert "Partial: " in to_html(report)
    assert json.loads(to_json(report))["partial"]["planned"] == 1_000
    assert {one.policy: one.errors for one in report.policies}["manager"] == {"environment": 1}


class Page(HTMLParser):
    """What a page asks a browser for, and whether its elements are closed."""

    EMPTY = {"meta", "circle", "line", "path"}

    def __init__(self, text):
        super().__init__()
        self.resources, self.links, self.tags, self.open = [], [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.resources += [value for name, value in attrs if name in ("src", "srcset", "data", "xlink:href")]
        self.links += [value for name, value in attrs if name == "href"]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.EMPTY:
            assert self.open.pop() == tag


def test_the_page_is_whole_and_asks_for_nothing(report):
    text = to_html(report)
    page = Page(text)
    assert page.open == []
    assert page.resources == []
    assert not page.tags & {"script", "link", "img", "iframe"}
    assert all(link.startswith("https://console.example.org/runs/") for link in page.links)
    assert "url(" not in text
    assert "@import" not in text
    assert "prefers-color-scheme: dark" in text


def test_the_page_shows_the_dial_and_what_is_wrong_with_the_papers_score(report):
    ceiling = Ceiling(cost_nano_usd=10_000_000, latency_ms=1_000)
    dial = [
        an_episode(
            task=f"t{n}", cluster=f"c{n}", preference=Weights(cost=cost), ceiling=ceiling, cost_nano_usd=int(9e6 - 8e6 * cost)
        )
        for n in range(4)
        for cost in (0.0, 0.5, 1.0)
    ]
    text = to_html(build_report(Recorded(episodes=tuple(dial)), Plan(drawing=PLAN.drawing)))
    assert "0 → 0.5" in text
    assert "0.56 × (0.56 to 0.56)" in text
    assert "What is wrong with the score of the paper" in to_html(report)
    assert "What is wrong with the score of the paper" not in text


def test_the_page_says_whom_a_policy_favours_and_how_evenly_it_spreads_its_calls(report):
    _, _, favours = to_html(report).partition("Whom a policy favours")
    table, _, _ = favours.partition("</table>")
    assert "own family" not in table
    (row,) = (line for line in table.split("<tr>") if "strongest</t" in line and "entropy" not in line)
    assert "100.0 % (" in row
    assert ">0.00<" in row


def test_what_records_say_is_text_on_the_page():
    evil = "<script>alert(1)</script>"
    episodes = (
        an_episode(policy=evil, task=evil, suite=evil, topic=evil, calls={evil: 1}, success=False, run_id='"><script>'),
        an_episode(policy="old", error_message=evil, error=ErrorKind.TIMEOUT, success=False),
    )
    plan = Plan(title=evil, settings={evil: evil}, run_link="/runs/{run_id}")
    report = build_report(Recorded(episodes=episodes, stopped=Stopped(reason=evil, done=1, planned=2)), plan)
    assert "script" not in Page(to_html(report)).tags
    assert evil in json.loads(to_json(report))["title"]
    assert "[red]" in printed(build_report(Recorded(episodes=episodes), Plan(title="[red]not markup")))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"policy": "nobody"}, "no episode is of 'nobody' (recorded are cheapest, manager, nothing, oracle, strongest)"),
        ({"baseline": "nobody"}, "no episode is of 'nobody'"),
        ({"untrained": "nobody"}, "no episode is of 'nobody'"),
        ({"run_link": "javascript:alert(1)"}, "run_link is no web address"),
        ({"gate": Gate(), "policy": "manager"}, "a gate needs a policy and a baseline"),
    ],
)
def test_a_plan_that_does_not_fit_is_named(change, said):
    with pytest.raises(InvalidPlanError) as caught:
        build_report(Recorded(episodes=tuple(EPISODES)), Plan(**change))
    assert said in str(caught.value)


def test_nothing_to_report_on_is_an_error():
    lost = an_episode(success=False, error=ErrorKind.ENVIRONMENT)
    for episodes in ((), (lost,)):
        with pytest.raises(InvalidPlanError, match="no episode to report on"):
            build_report(Recorded(episodes=episodes), Plan())


def test_one_free_policy_alone_has_a_report_too(tmp_path):
    report = build_report(Recorded(episodes=(an_episode(cost_nano_usd=0),)), Plan())
    json_path, html_path = write_report(report, tmp_path / "out")
    assert json.loads(json_path.read_text())["comparisons"] == []
    assert Page(html_path.read_text()).open == []
    assert sorted(path.name for path in json_path.parent.iterdir()) == ["report.html", "report.json"]


@pytest.mark.parametrize("costs", [(0.0, 0.01), (0.001, 0.9), (0.02, 0.021), (1e-9, 1e-9)])
def test_all_points_lie_inside_the_picture(costs):
    episodes = made_up({f"p{n}": Habit(0.5, cost) for n, cost in enumerate(costs)}, tasks=20, clusters=10)
    text = to_html(build_report(Recorded(episodes=tuple(episodes)), Plan(drawing=Drawing(resamples=50))))
    places = re.findall(r'<circle cx="([\d.-]+)" cy="([\d.-]+)"', text)
    assert len(places) == 2
    assert all(56 <= float(x) <= 610 and 16 <= float(y) <= 352 for x, y in places)
