"""A run, explained, in every state; and what its followers are told on the way."""

import json

import pytest

from tests.unit.orchestrator.making import RUN, asked, calls, ended, finished, log, said, started
from toolorchestra.core.calls import Outcome, Status
from toolorchestra.core.loop import facts as f
from toolorchestra.core.loop.state import fold
from toolorchestra.orchestrator.services import progress
from toolorchestra.orchestrator.services.explain import explain, status_of, summary

TOOL = (asked(), calls("calculator", expression="secret question"), started(1), finished())
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
FAILED = f.AskFailed(turn=1, attempt=1, error_code="upstream_error", message="the model is away")


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        ((), "running"),
        (TOOL[:1], "running"),
        (TOOL, "running"),
        ((*TOOL, ended()), "completed"),
        ((*TOOL, ended(status="cancelled")), "cancelled"),
        ((FAILED, ended(status="failed")), "failed"),
        ((asked(), calls("weather", client=True), f.Parked(turn=1)), "waiting"),
        ((asked(), calls("weather", client=True), f.Parked(turn=1), f.Continued(turn=1, results={1: "sunny"})), "running"),
        ((asked(), f.Resumed(owner="other")), "running"),
        ((*TOOL[:3], f.Resumed(owner="other")), "running"),
    ],
)
def test_every_state_of_a_run_can_be_explained(facts, status):
    body = explain(RUN, log(*facts))
    assert body["status"] == status
    assert status_of(fold(RUN, log(*facts))) == status
    assert json.loads(json.dumps(body)) == body
    assert (body["ended_at"] is not None) is (body["answer"] is not None)


def test_each_call_has_its_reason_price_and_result():
    body = explain(RUN, log(*TOOL, ended(), traceparent=TRACE))
    (turn,) = body["turns"]
    (call,) = turn["calls"]
    assert turn["reason"] == "by rule"
    assert call["id"] == "1/1"
    assert (call["status"], call["result"], call["cost_usd"]) == ("ok", "391", "0.001")
    assert body["cost_nano_usd"] == 1_000_005
    assert body["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert body["duration_ms"] == 5_000


def test_a_turn_without_candidates_had_those_of_the_turn_before_unless_it_had_to_answer():
    first = calls("calculator").model_copy(update={"candidates": (f.Candidate(function="calculator", worst_case_nano_usd=7),)})
    facts = (asked(), first, started(1), finished(), asked(2), calls("calculator", turn=2), started(1, turn=2))
    closing = (finished(turn=2), asked(3, forced="the time is nearly up"), said("391", turn=3), ended())
    turns = explain(RUN, log(*facts, *closing))["turns"]
    named = [{"function": "calculator", "worst_case_nano_usd": 7}]
    assert [turn["candidates"] for turn in turns] == [named, named, []]


def test_a_run_shows_its_session_and_which_calls_left():
    body = explain(RUN, log(*TOOL, ended(), session="library:task-1:a"))
    assert body["session"] == "library:task-1:a"
    assert body["turns"][0]["calls"][0]["sent"] is True
    unsent = finished(outcome=Outcome(status=Status.DENIED, content="no money", sent=False))
    shown = explain(RUN, log(*TOOL[:3], unsent))
    assert (shown["session"], shown["turns"][0]["calls"][0]["sent"]) == (None, False)


def test_the_ledger_knows_of_attempts_that_workers_lost():
    body = explain(RUN, log(*TOOL, ended()), {"1/1": 3_000_000})
    (turn,) = body["turns"]
    assert turn["calls"][0]["cost_usd"] == "0.003"
    assert turn["calls"][0]["estimated"] is True
    assert turn["cost_usd"] == "0.003000005"
    assert body["cost_nano_usd"] == 3_000_005


def test_a_call_with_a_lost_attempt_shows_its_whole_cost():
    again = f.StartedCall(ordinal=1, attempt=2, hold_nano_usd=0, timeout_ms=1_000, lost_nano_usd=500)
    facts = (*TOOL[:3], f.Resumed(owner="other"), f.CallsStarted(turn=1, calls=(again,)), finished(), ended())
    body = explain(RUN, log(*facts))
    assert body["turns"][0]["calls"][0]["cost_usd"] == "0.0010005"
    assert body["cost_nano_usd"] == 1_000_505


def test_without_content_nothing_is_left_of_what_was_said():
    stored = log(*TOOL, asked(2), said("secret words", 2), ended("secret answer"), question="secret question")
    text = json.dumps(explain(RUN, stored, content=False))
    assert "secret" not in text
    assert "391" not in text
    assert "secret" in json.dumps(explain(RUN, stored))


def test_the_summary_names_tools_cost_and_trace():
    body = summary(fold(RUN, log(*TOOL, ended())))
    assert body["tools"] == ["calculator"]
    assert body["reason"] == "answered"
    assert body["trace_id"] is None


@pytest.mark.parametrize(
    ("fact", "line"),
    [
        (calls("search", query="x"), "→ search(query='x')\n"),
        (calls("search", query="y" * 500), "→ search(query='" + "y" * 113 + "…)\n"),
        (asked(forced="time is nearly over"), "· answering now: time is nearly over\n"),
        (FAILED, "· the model is away\n"),
        (finished(), "  ✓ 12 ms, $0.001\n"),
        (finished(outcome=Outcome(status=Status.TIMEOUT, content="", latency_ms=7)), "  ✗ timeout 7 ms\n"),
        (f.Resumed(owner="other"), "· resumed after an interruption\n"),
    ],
)
def test_followers_are_told_one_line(fact, line):
    assert progress.line(fact) == line


@pytest.mark.parametrize("fact", [asked(), said("text"), started(1), ended(), f.Parked(turn=1), f.CancelRequested(by="me")])
def test_facts_that_say_nothing_new_have_no_line(fact):
    assert progress.line(fact) is None
