"""What people see of runs, plans, traces and lists."""

import pytest
from rich.console import Console

from tests.unit.cli.samples import ANSWER, QUESTION, TRACE_ID, run_body
from toolorchestra.cli.commands.tools import price_of
from toolorchestra.cli.views.plan import plan_view
from toolorchestra.cli.views.run import conversation, run_view, runs_table
from toolorchestra.cli.views.tables import records
from toolorchestra.cli.views.trace import trace_tree
from toolorchestra.cli.views.values import moment, nano_usd, seconds, text, tokens, usd
from toolorchestra.cli.views.welcome import missing, snippet, why_not
from toolorchestra.kit.traces import SpanRecord, build_tree


def shown(renderable) -> list[str]:
    console = Console(width=140, highlight=False)
    with console.capture() as capture:
        console.print(renderable)
    return [line.rstrip() for line in capture.get().splitlines() if line.strip()]


def rows(renderable) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in shown(renderable)]


def test_a_run_shows_every_call_with_reason_status_tokens_time_and_cost():
    table = rows(run_view(run_body(), url="http://127.0.0.1:8080"))
    assert table[0] == ["turn", "function", "why", "status", "tokens", "time", "cost"]
    assert ["1", "local-search", "perhaps it stands there", "timeout", "–", "5.00 s", "$0.00"] in table
    assert ["2", "decide", "a model chose it", "ok", "210 → 18", "0.840 s", "$0.00035"] in table
    assert ["2", "local", "the cheapest expert", "ok", "42 → 9", "1.23 s", "$0.0000012 ~"] in table
    assert ["3", "answer", "the expert answered", "ok", "–", "0.000 s", "$0.00"] in table


def test_a_free_decision_that_says_no_more_than_its_calls_is_not_shown_apart():
    assert not [row for row in rows(run_view(run_body(), url="u")) if row[:2] == ["1", "decide"]]


def test_a_run_ends_with_its_sums_its_trace_and_its_address():
    lines = shown(run_view(run_body(), url="http://127.0.0.1:8080"))
    assert lines[-4:] == [
        "completed · 3 turns · 2 calls · 252 → 27 tokens · 7.70 s · $0.0003512",
        "run    run-1",
        f"trace  {TRACE_ID}",
        "url    http://127.0.0.1:8080/v1/runs/run-1",
    ]


def test_a_run_whose_contents_were_deleted_still_shows_what_it_cost():
    summary = {"id": "run-1", "status": "completed", "cost_usd": "0.10", "turns": []}
    assert shown(run_view(summary, url="u"))[-3:] == [
        "completed · 0 turns · 0 calls · – tokens · – · $0.10",
        "run    run-1",
        "url    u/v1/runs/run-1",
    ]


def test_markup_in_what_users_and_models_say_is_shown_as_it_is():
    assert "[bold]Paris[/bold]" in "\n".join(shown(conversation(run_body(answer="[bold]Paris[/bold]"))))


def test_a_conversation_shows_question_and_answer():
    assert shown(conversation(run_body())) == [f"user: {QUESTION}", f"answer: {ANSWER}"]


def test_runs_are_listed_with_status_time_and_cost():
    assert rows(runs_table([run_body()]))[-1] == ["run-1", "completed", "toolorchestra", "2026-11-22 10:00:00", "$0.0003512"]


def test_a_plan_shows_candidates_first_step_and_limits():
    plan = {
        "object": "toolorchestra.plan",
        "policy": "baseline:cascade",
        "limits": {"max_turns": 12, "max_cost_nano_usd": 50_000_000, "max_total_tokens": None},
        "closing_reserve_usd": "0.01",
        "candidates": [
            {"function": "calculator", "worst_case_nano_usd": 0},
            {"function": "big", "worst_case_nano_usd": 8_200_000},
        ],
        "first": {"calls": [{"function": "calculator", "arguments": {"expression": "2+2"}, "reason": "it is an expression"}]},
    }
    lines = rows(plan_view(plan))
    assert lines[0] == ["function", "worst case"]
    assert ["big", "$0.0082"] in lines
    assert ["first call", "calculator(expression=2+2)", "it is an expression"] in lines
    assert ["max cost", "$0.05"] in lines
    assert ["closing reserve", "$0.01"] in lines


def test_records_keep_the_wanted_columns_first_and_money_once():
    table = records([{"calls": 3, "spent_usd": "0.10", "spent_nano_usd": 100_000_000, "key": "a", "empty": None}], ("key",))
    assert rows(table)[0] == ["key", "calls", "spent"]
    assert rows(table)[-1] == ["a", "3", "$0.10"]


def test_a_trace_is_a_tree_with_services_times_costs_and_errors():
    tree = trace_tree(
        build_tree([_span("1", None, "POST"), _span("2", "1", "chat", status="error", message="refused")]), TRACE_ID
    )
    assert shown(tree) == [
        f"trace {TRACE_ID}",
        "└── POST  0.002 s  $0.0000012  orchestrator",
        "    └── chat  0.002 s  $0.0000012  orchestrator  refused",
    ]


def _span(span_id: str, parent_id: str | None, name: str, *, status: str = "ok", message: str = "") -> SpanRecord:
    return SpanRecord(
        trace_id=TRACE_ID,
        span_id=span_id,
        parent_id=parent_id,
        name=name,
        service="orchestrator",
        start_ns=1_000_000,
        end_ns=3_000_000,
        status=status,
        message=message,
        attributes={"toolorchestra.cost.nano_usd": 1_200},
    )


def test_tools_that_are_not_ready_and_broken_manifests_are_told_with_the_fix():
    tools = {
        "data": [
            {"name": "a", "ready": True},
            {"name": "web-search", "ready": False, "reason": "Missing", "message": "set KEY"},
        ],
        "problems": [
            {"source": "Tool default/web-search", "message": "it is not ready: set KEY"},
            {"source": "manifests/b.yaml", "message": "spec.htp: unknown field"},
        ],
    }
    assert shown(missing(tools)) == [
        "optional: web-search needs setting up: set KEY",
        "manifests/b.yaml: spec.htp: unknown field",
    ]


def test_a_closed_address_tells_how_to_open_it_here():
    assert "--allow-egress" in why_not({"ready": False, "reason": "EgressDenied", "message": "127.0.0.1 is a loopback address"})
    assert why_not({"ready": None, "reason": "NotProbed", "message": ""}) == "NotProbed"


def test_money_that_comes_back_has_its_sign_before_the_dollar():
    assert (usd("-1.00"), nano_usd(-1_000_000_000)) == ("-$1.00", "-$1.00")


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        ({"per_call": "0.00", "per_second": "0.00"}, "free"),
        ({"per_call": "0.008", "per_second": "0.00"}, "$0.008 per call"),
        ({"per_call": "0.01", "per_second": "0.002"}, "$0.01 per call, $0.002 per second"),
        ({"input_per_million_tokens": "1.25", "output_per_million_tokens": "10.00"}, "$1.25 in, $10.00 out per M"),
        (None, "–"),
    ],
)
def test_a_price_names_only_what_is_charged(price, expected):
    assert price_of(price) == expected


def test_the_snippet_is_three_lines_of_python_that_compile():
    lines = snippet("http://127.0.0.1:8080", "to_1.secret", ["local", "toolorchestra"])
    compile(lines, "snippet", "exec")
    assert len(lines.splitlines()) == 3
    assert 'model="toolorchestra"' in lines
    assert 'model="mine"' in snippet("http://127.0.0.1:8080", "k", ["mine"])


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (usd("0.0012"), "$0.0012"),
        (usd(None), "–"),
        (nano_usd(1_200_000), "$0.0012"),
        (nano_usd("x"), "–"),
        (seconds(4), "0.004 s"),
        (seconds(61_234), "61.23 s"),
        (seconds(None), "–"),
        (tokens({"prompt_tokens": 3, "completion_tokens": 4}), "3 → 4"),
        (moment("2026-11-22T10:00:00.123+00:00"), "2026-11-22 10:00:00"),
        (text([1, {"a": True}]), "1, a=yes"),
        (text([]), "–"),
    ],
)
def test_values_are_short_and_exact(made, expected):
    assert made == expected
