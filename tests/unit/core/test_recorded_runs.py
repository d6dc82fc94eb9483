"""Runs that earlier releases stored are read by this one, and mean the same."""

import json
from datetime import datetime
from pathlib import Path

import pytest

from toolorchestra.core.loop import machine
from toolorchestra.core.loop.facts import EVENT_VERSION, dump, load
from toolorchestra.core.loop.journal import Stamped
from toolorchestra.core.loop.state import State, fold

RUNS = Path(__file__).parents[2] / "data" / "runs"
FILES = sorted(RUNS.glob("v*/*.json"))


def read(path):
    stored = json.loads(path.read_text())
    log = [Stamped(item["seq"], datetime.fromisoformat(item["at"]), load(item["body"])) for item in stored["log"]]
    return stored, fold(stored["run"], log)


def summary(state: State) -> dict:
    return {
        "status": state.ended.status if state.ended else "waiting",
        "answer": state.ended.answer if state.ended else None,
        "spent_nano_usd": state.spent_nano_usd,
        "input_tokens": state.usage.input,
        "output_tokens": state.usage.output,
        "turns": [
            {
                "turn": turn.number,
                "cost_nano_usd": turn.cost_nano_usd,
                "calls": [
                    [call.intent.function, call.phase.value, call.outcome.status.value if call.outcome else None]
                    for call in turn.calls
                ],
            }
            for turn in state.turns
        ],
    }


def test_every_event_version_has_stored_runs():
    assert {path.parent.name for path in FILES} == {f"v{version}" for version in range(1, EVENT_VERSION + 1)}


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_stored_run_folds_to_what_it_was(path):
    stored, state = read(path)
    assert summary(state) == stored["expected"]
    assert isinstance(machine.decide(state), machine.Rest)


@pytest.mark.parametrize("path", sorted(RUNS.glob(f"v{EVENT_VERSION}/*.json")), ids=lambda path: path.stem)
def test_facts_of_the_current_version_are_stored_as_they_are_read(path):
    for item in json.loads(path.read_text())["log"]:
        assert dump(load(item["body"])) == item["body"]


def test_all_types_of_facts_are_among_the_stored_runs():
    types = {item["body"]["type"] for path in FILES for item in json.loads(path.read_text())["log"]}
    assert types == {
        "opened", "asked", "decided", "ask_failed", "calls_started", "call_finished", "parked", "continued", "resumed",
        "cancel_requested", "ended",
    }  # fmt: skip


def test_a_fact_of_a_newer_program_is_refused_not_misread():
    with pytest.raises(ValueError, match="newer than this program reads"):
        load({"type": "resumed", "v": EVENT_VERSION + 1, "owner": "x"})


@pytest.mark.parametrize(
    "body", [{"type": "unheard_of"}, {}, {"type": "resumed"}, {"type": "resumed", "owner": "x", "colour": "red"}]
)
def test_a_body_that_is_no_fact_is_refused(body):
    with pytest.raises(ValueError, match="validation error"):
        load(body)
