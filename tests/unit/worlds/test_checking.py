"""An episode succeeds by state, facts and proof together; each missing one is named."""

import json

import pytest
from jsonschema import Draft202012Validator

from tests.support.library import FACTS, GOLDEN, LIBRARY, calls, task
from toolorchestra.worlds.check import check
from toolorchestra.worlds.loading import load_world
from toolorchestra.worlds.tasks import Fact, Task, json_schema, write_line
from toolorchestra.worlds.verify import Reason, variants, verify

WORLD = load_world(LIBRARY)
TASK = task()
ANSWER = "It is due on 20 March, the new one stands at C1, and you owe 3.50 EUR. Both are worth €46.49."
READS = [one.call for one in GOLDEN[:4]]


def test_the_golden_episode_succeeds():
    verdict = check(WORLD, TASK, TASK.calls, ANSWER)
    assert verdict.success
    assert verdict.reasons == ()


def test_another_end_state_fails():
    verdict = check(WORLD, TASK, READS, ANSWER)
    assert (verdict.success, verdict.state_equal) == (False, False)


@pytest.mark.parametrize(
    ("answer", "missing"),
    [
        ("", ("next_due", "shelf", "fines", "worth")),
        (ANSWER.replace("20 March", "21 March"), ("next_due",)),
        (ANSWER.replace("3.50", "3.05"), ("fines",)),
        (ANSWER.replace("C1", "C12"), ("shelf",)),
    ],
)
def test_a_fact_that_is_not_said_is_named(answer, missing):
    assert check(WORLD, TASK, TASK.calls, answer).facts_missing == missing


def test_facts_whose_rows_no_call_returned_are_unproven():
    guessed = [GOLDEN[4].call]
    assert check(WORLD, TASK, guessed, ANSWER).facts_unproven == ("next_due", "shelf", "fines", "worth")


def test_a_refused_call_proves_nothing():
    refused = calls(("find_member", {"email": "ada"}), ("get_member", {"member_id": "ME-1"}))
    assert "fines" in check(WORLD, TASK, [*refused, GOLDEN[4].call], ANSWER).facts_unproven


@pytest.mark.parametrize(
    ("more", "kinds"),
    [
        (" Others: 1.00 EUR, 2.00 EUR.", ()),
        (" Others: 1.00 EUR, 2.00 EUR, 3.00 EUR.", ("money",)),
        (" Or 1 May, 2 May or 3 May.", ("date",)),
        (" Shelves are A1, B2 and B3.", ("text",)),
    ],
)
def test_an_answer_that_lists_everything_fails(more, kinds):
    verdict = check(WORLD, TASK, TASK.calls, ANSWER + more)
    assert verdict.extra_values == kinds
    assert verdict.success == (not kinds)


def test_a_task_worth_having_has_nothing_against_it():
    assert verify(WORLD, TASK) == ()


def test_all_kinds_of_right_episodes_pass():
    found = variants(WORLD, TASK, seed=3)
    assert found.keys() == {"reordered", "extra_reads", "other_path", "retry", "reworded"}
    assert all(check(WORLD, TASK, episode, answer).success for episode, answer in found.values())


LEND = GOLDEN[4].model_copy(update={"needs": ()})
SAYS_ALL = TASK.user.model_copy(update={"opening": f"{TASK.user.opening} I owe 3.50 EUR, ME-100, BO-4."})
FREQUENT = {
    ("borrow", "next_due"): "2026-03-20",
    ("borrow", "shelf"): "C1",
    ("borrow", "fines"): 350,
    ("borrow", "worth"): 4649,
}
YES = Fact(name="open", kind="yesno", value=True, rows=(("loans", "LO-1"),))
PLUS = (
    *GOLDEN,
    GOLDEN[4].model_copy(update={"id": "c6", "tool": "pay_fine", "arguments": {"member_id": "ME-100", "amount": "1.25"}}),
)


@pytest.mark.parametrize(
    ("changes", "frequent", "reason"),
    [
        ({"golden": (*GOLDEN[:4], GOLDEN[4].model_copy(update={"tool": "lendd"}))}, None, Reason.GOLDEN_REFUSED),
        ({"golden": (GOLDEN[2], LEND)}, None, Reason.UNPROVEN),
        ({"golden": PLUS}, None, Reason.UNPROVEN),
        ({"user": SAYS_ALL}, None, Reason.FACT_IN_TEXT),
        ({"facts": (YES,)}, None, Reason.WEAK_FACTS),
        ({"golden": GOLDEN[:4], "facts": ()}, None, Reason.NOTHING_TO_CHECK),
        ({"facts": (FACTS[0].model_copy(update={"rows": (("loans", "LO-3"),)}),)}, None, Reason.GOLDEN_FAILS),
        ({}, FREQUENT, Reason.PASSES_FREQUENT),
        ({"facts": (FACTS[2],)}, None, Reason.PASSES_DUMP),
    ],
)
def test_a_task_that_is_not_worth_having_says_why(changes, frequent, reason):
    drops = verify(WORLD, task(**changes), frequent=frequent)
    assert reason in {drop.reason for drop in drops}


def test_writes_with_values_from_the_text_alone_are_no_task():
    golden = (GOLDEN[4].model_copy(update={"tool": "give_back", "arguments": {"loan_id": "LO-1"}, "needs": ()}),)
    user = TASK.user.model_copy(update={"opening": "Give back LO-1 and tell me when it was due."})
    drops = verify(WORLD, task(golden=golden, user=user, facts=FACTS[:1]))
    assert Reason.PASSES_FROM_TEXT in {drop.reason for drop in drops}


def test_a_write_that_changes_nothing_is_no_task():
    again = GOLDEN[4].model_copy(
        update={
            "id": "c7",
            "tool": "move_fines",
            "arguments": {"from_member_id": "ME-100", "to_member_id": "ME-200", "amount": "3.50"},
        }
    )
    back = again.model_copy(
        update={"id": "c8", "arguments": {"from_member_id": "ME-200", "to_member_id": "ME-100", "amount": "3.50"}}
    )
    user = TASK.user.model_copy(update={"opening": f"{TASK.user.opening} Bram is ME-200, and 3.50 EUR is the sum."})
    drops = verify(WORLD, task(golden=(*GOLDEN[:4], again, back), facts=FACTS[:1], user=user))
    assert Reason.PASSES_WITHOUT_WRITE in {drop.reason for drop in drops}


def test_a_line_of_tasks_is_what_the_published_schema_says():
    line = json.loads(write_line(TASK))
    Draft202012Validator(json_schema()).validate(line)
    assert Task.model_validate(line) == TASK


def test_needs_must_come_before():
    with pytest.raises(ValueError, match=r"golden\.c1\.needs: 'c4' is no earlier call"):
        task(golden=(GOLDEN[0].model_copy(update={"needs": ("c4",)}), *GOLDEN[1:]))
