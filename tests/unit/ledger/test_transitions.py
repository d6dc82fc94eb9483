"""A transition as steps: what comes before what, whose money, and which name."""

import json
from datetime import UTC, datetime

from toolorchestra.core.calls import Outcome, Status
from toolorchestra.core.loop.facts import Asked, CallFinished, Continued, Ended, Limits, Opened
from toolorchestra.core.loop.journal import CallEnd, CallStart, Settle, Take, Transition
from toolorchestra.ledger.statements import Step, statements
from toolorchestra.ledger.transitions import Log, NewRun, RunContext, opening_steps, steps_of

CONTEXT = RunContext("run1", "acme", "key1", owner="me", policy="expert:acme/manager", models={"solver": "acme/maths"})
ASKED = Asked(turn=1, attempt=1, max_tokens=10, hold_nano_usd=5, timeout_ms=1000)
ENDED = Ended(status="completed", answer="yes", reason="answered")
OPENED = Opened(
    model="m", policy="p", tenant="acme", key="key1", revision="r", messages=(),
    limits=Limits(max_turns=1, max_output_tokens=1, timeout_ms=1000),
)  # fmt: skip
NAMES = {s.text: name for area in ("money", "runs", "calls") for name, s in statements(area).items()}


def names(steps: list[Step]) -> list[str]:
    return [NAMES[one.text] for one in steps]


def built(*facts, context=CONTEXT, **parts) -> list[Step]:
    transition = Transition("run1", 4, facts or (ASKED,), **parts)
    return steps_of(transition, context, Log.of(transition))


def start(hold: str, function: str = "search", execution: str = "inline") -> CallStart:
    return CallStart(1, 1, 1, function, {"q": 1}, execution, "readOnly", 1000, hold, 5)


def test_the_fence_comes_first_and_the_lock_before_every_move():
    steps = built(
        takes=(Take("run1/1/1/1", 5, 1000),),
        settles=(Settle("run1/1/0/1", 3),),
        starts=(start("run1/1/1/1"),),
        ends=(CallEnd(0, 1, 1, Outcome(status=Status.OK, content="")),),
    )
    assert names(steps) == ["advance", "end", "start", "lock", "settle", "take"]
    assert steps[3].params == {"accounts": ["r:run1", "k:key1", "t:acme"]}


def test_a_transition_without_money_locks_no_account():
    assert names(built()) == ["advance"]


def test_the_end_of_a_run_gives_back_slot_and_account_and_parking_only_the_slot():
    assert names(built(ENDED, closes=True)) == ["advance", "lock", "settle_slot", "close_account"]
    assert names(built(parks=True)) == ["advance", "lock", "settle_slot"]
    (closing, *_), (parking, *_), (plain,) = built(ENDED, closes=True), built(parks=True), built()
    assert [one.params["state"] for one in (closing, parking, plain)] == ["ended", "waiting", None]
    assert (closing.params["status"], plain.params["status"]) == ("completed", None)


def test_a_continuation_takes_a_slot_under_a_new_name():
    steps = built(Continued(turn=1, results={}), takes=(Take("run1/final-2", 5, 1000),))
    assert names(steps) == ["advance", "lock", "take", "take"]
    assert (steps[0].params["state"], steps[0].params["slot"]) == ("running", "run1/slot/4")
    assert (steps[2].params["unit"], steps[2].params["hold"], steps[2].params["accounts"]) == (
        "slots",
        "run1/slot/4",
        ["k:key1", "t:acme"],
    )


def test_every_hold_says_what_it_is_for():
    holds = (
        Take("run1/1/0/1", 5, 1000),
        Take("run1/final", 5, 1000),
        Take("run1/1/1/1", 5, 1000),
        Take("run1/1/2/1", 5, 1000, sent=False),
    )
    starts = (start("run1/1/1/1"), start("run1/1/2/1", "solver", "queued"))
    steps = [one for one in built(takes=holds, starts=starts) if NAMES[one.text] == "take"]
    labels = [(one.params["kind"], one.params["function"], one.params["model"], one.params["sent"]) for one in steps]
    assert labels == [
        ("decision", None, "acme/manager", True),
        ("final", None, "acme/manager", True),
        ("call", "search", None, True),
        ("call", "solver", "acme/maths", False),
    ]
    passing = RunContext("run1", "acme", "key1", owner="me", policy="passthrough:acme/strong")
    (_, _, take) = built(context=passing, takes=(Take("run1/1/0/1", 5, 1000),))
    assert (take.params["kind"], take.params["model"]) == ("passthrough", "acme/strong")
    baseline = RunContext("run1", "acme", "key1", owner="me", policy="baseline:cascade")
    (_, _, take) = built(context=baseline, takes=(Take("run1/1/0/1", 5, 1000),))
    assert (take.params["kind"], take.params["model"]) == ("decision", None)


def test_a_run_opens_with_its_account_a_request_and_a_slot():
    transition = Transition("run1", 0, (OPENED, ASKED), takes=(Take("run1/final", 5, 1000),))
    steps = opening_steps(NewRun(CONTEXT, model="m", cap_nano_usd=70), transition, Log.of(transition))
    assert names(steps) == ["insert", "append", "open_account", "lock", "take", "settle", "take", "take"]
    assert json.loads(steps[2].params["limits"]) == [{"unit": "nano_usd", "kind": "total", "tz": "UTC", "amount": 70}]
    units = [(one.params["unit"], one.params["amount"]) for one in steps if NAMES[one.text] == "take"]
    assert units == [("requests", 1), ("slots", 1), ("nano_usd", 5)]
    assert (steps[0].params["seq"], steps[0].params["version"]) == (2, 1)


def test_the_log_is_numbered_from_the_fact_before_and_keeps_the_order_of_keys():
    outcome = Outcome(status=Status.OK, content="x", details={"zebra": 1, "apple": 2})
    transition = Transition("run1", 4, (ASKED, CallFinished(turn=1, ordinal=1, attempt=1, outcome=outcome)))
    log = Log.of(transition)
    items = json.loads(log.text)
    assert [(item["seq"], item["type"], item["v"]) for item in items] == [(5, "asked", 1), (6, "call_finished", 1)]
    assert list(items[1]["body"]["outcome"]["details"]) == ["zebra", "apple"]


def test_stamps_match_facts_by_place_whatever_the_order_of_rows():
    log = Log.of(Transition("run1", 4, (ASKED, ENDED)))
    early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    stamped = log.stamped([{"seq": 6, "at": late}, {"seq": 5, "at": early}])
    assert [(one.seq, one.at, one.fact) for one in stamped] == [(5, early, ASKED), (6, late, ENDED)]
