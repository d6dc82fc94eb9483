"""Whatever a model writes: kept is only what says the same values, passes verification, and was not said before."""

from collections import Counter

import pytest

from toolorchestra.training.toolscale.building import build_domain
from toolorchestra.training.toolscale.domain import find_domain
from toolorchestra.training.toolscale.rewording import Kept, reword, template_fault, values_fault, widen
from toolorchestra.training.toolscale.testing import ScriptedModel
from toolorchestra.worlds.verify import frequent_values, verify

TEXT = "Move my trip from York to Leeds on 14 March, at 8:05, to two days later. Pay £12.50 at most; order OR-77492."
TIMES = "The 2pm train, not the one at 15:30."


@pytest.fixture(scope="module")
def built():
    return build_domain(find_domain("ecommerce"), seed=9, count=12)


def message(request):
    """The message in a request to rewrite."""
    return request.partition("The message:\n\n")[2]


def test_a_text_with_the_same_values_in_other_words_is_kept(built):
    model = ScriptedModel(lambda request: f"Well then. {message(request)} Best, as ever")
    found = reword(built.world, built.tasks, model)
    assert found.counts == {"rewritten": 12}
    assert len(model.asked) == 12
    for before, after in zip(built.tasks, found.tasks, strict=True):
        assert after.user.opening == f"Well then. {before.user.opening} Best, as ever"
        assert (after.id, after.golden, after.facts, after.split) == (before.id, before.golden, before.facts, before.split)
        assert verify(built.world, after, frequent=frequent_values(found.tasks)) == ()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda request: None, Kept.NO_ANSWER),
        (message, Kept.SAME),
        (lambda request: "Do what I want, please.", Kept.VALUE_MISSING),
        (lambda request: f"{message(request)} It should cost £431.17.", Kept.VALUE_INVENTED),
        (lambda request: message(request) + "!" * 9000, Kept.TOO_LONG),
    ],
    ids=["nothing", "the same", "values lost", "a value more", "too long"],
)
def test_anything_else_keeps_its_wording_and_is_counted(built, answer, reason):
    found = reword(built.world, built.tasks, ScriptedModel(answer))
    assert found.tasks == list(built.tasks)
    assert found.counts == {reason.value: 12}


def test_an_answer_that_tells_a_fact_is_not_kept(built):
    facts = {task.user.opening: [fact for fact in task.facts if fact.kind == "text"] for task in built.tasks}
    tasks = [task for task in built.tasks if facts[task.user.opening]]
    assert tasks
    model = ScriptedModel(lambda request: f"{message(request)} Is it {facts[message(request)][0].value}?")
    found = reword(built.world, tasks, model)
    assert found.tasks == tasks
    assert "rewritten" not in found.counts


@pytest.mark.parametrize(
    ("after", "fault"),
    [
        ("£12.50 is my limit. The York to Leeds trip of March 14th, 08:05: take it two days on. It is OR-77492.", None),
        ("£12.50 is my limit. The York to Leeds trip of March 14th, 08:05: take it 2 days on. It is or-77492.", None),
        ("£12.50 is my limit. The York to Leeds trip of March 15th, 08:05: take it two days on. It is OR-77492.", "missing"),
        ("£12.50 is my limit. The York to Hull trip of March 14th, 08:05: take it two days on. It is OR-77492.", "missing"),
        ("£12.50 is my limit. The York to Leeds trip of March 14th, 09:05: take it two days on. It is OR-77492.", "missing"),
        ("£12.50 is my limit. The York to Leeds trip of March 14th, 08:05: take it some days on. It is OR-77492.", "missing"),
        (
            "£12.50 is my limit. The York to Leeds trip of March 14th, 08:05: take it two days on, 4 of us. OR-77492.",
            "invented",
        ),
    ],
)
def test_values_are_compared_however_they_are_written(after, fault):
    found = values_fault(TEXT, after, ["York", "Leeds", "2026-03-14", "08:05", "12.50"], 2026)
    assert (fault is None) == (found is None)
    assert fault is None or fault in str(found)


def test_times_without_a_date_are_compared():
    assert values_fault(TIMES, "Not the 15:30, I mean the train at 14:00.", [], 2026) is None
    assert values_fault(TIMES, "Not the 15:30, I mean the train at 13:00.", [], 2026) == Kept.VALUE_MISSING.value


def test_proposed_templates_widen_the_wording_and_move_nothing_that_is_held_out():
    domain = find_domain("railway")
    slots = "my trip from {origin} to {destination} on {day} and send the money to my {paid_to}."

    def propose(request):
        if slots not in request:
            return None
        lines = [f"1. Kindly undo {slots}", f"- [Please|Do] undo {slots}", "Cancel {everything}", f"[Oh|undo {slots}"]
        return "\n".join([*lines, f"Undo {slots} Booking 4711."])

    wider, counts = widen(domain, ScriptedModel(propose))
    assert Counter(counts) == {
        Kept.TEMPLATE.value: 2,
        Kept.SLOTS.value: 1,
        Kept.BRACKETS.value: 1,
        Kept.VALUE_INVENTED.value: 1,
        Kept.NO_ANSWER.value: len(domain.intents) - 1,
    }
    before, after = domain.division, wider.division
    assert (after.intents, after.templates) == (before.intents, before.templates)
    assert after.requests["cancel_booking"] == before.requests["cancel_booking"] + 2
    more = set(after.numbers("cancel_booking", held_out_template=False))
    assert more == set(before.numbers("cancel_booking", held_out_template=False)) | {5, 6}


def test_a_template_that_is_there_is_not_taken_twice():
    known = ["Cancel {what} [now|today]."]
    assert template_fault("cancel  {what} [now|today].", known) == Kept.SAME.value
    assert template_fault(f"Cancel {{what}} {'please ' * 90}", known) == Kept.TOO_LONG.value
    assert template_fault("Stop {what}.", known) is None
