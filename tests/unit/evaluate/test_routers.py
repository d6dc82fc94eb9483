"""Routers decide by what stands in the messages, and by nothing else."""

import json

import numpy as np
import pytest

from toolorchestra.core.errors import NotFoundError
from toolorchestra.core.pricing import Price
from toolorchestra.training.evaluate.routers.acting import GIVE_UP, Ask, Make, Say, next_action
from toolorchestra.training.evaluate.routers.choosing import Cascade, always_strongest, at_random, cheapest
from toolorchestra.training.evaluate.routers.learning import Embeddings, TextRouter, TfIdf, fit
from toolorchestra.training.evaluate.routers.models import Golden, Solution
from toolorchestra.training.evaluate.routers.oracle import Oracle
from toolorchestra.training.evaluate.routers.situation import Card, Situation, Step, read_situation

SMALL = Card("small", "A small model for trains and tickets.", Price(input=1, output=2), 30)
MIDDLE = Card("middle", "Excels at parcels and shop orders.", Price(input=10, output=20), 60)
LARGE = Card("large", "A strong general model.", Price(input=100, output=200), 90)
CARDS = {card.name: card for card in (SMALL, MIDDLE, LARGE)}
FIND = {"name": "find", "arguments": {"id": "A-1"}}


def situation(*steps, opening="Cancel my ticket.", preference="", closing=False):
    return Situation(opening, preference, steps, tuple(CARDS.values()), frozenset({"find", *CARDS}), closing=closing)


def asked(expert, reply, ok=True):
    return Step(expert, {"question": "?"}, reply if isinstance(reply, str) else json.dumps(reply), ok)


def test_messages_are_read_as_request_preference_and_steps():
    call = {"id": "call_1_1", "type": "function", "function": {"name": "find", "arguments": '{"id": "A-1"}'}}
    messages = [
        {"role": "system", "content": "You manage."},
        {"role": "user", "content": "Cancel it.\n\nPreference: keep it cheap"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1_1", "content": '[call 1/1] [error] {"error": 1}\n[left: 49 turns, 3000 s]'},
    ]
    tools = [{"type": "function", "function": {"name": name}} for name in ("find", "small", "answer_from")]
    seen = read_situation(messages, tools, CARDS)
    assert (seen.opening, seen.preference) == ("Cancel it.", "keep it cheap")
    assert seen.steps == (Step("find", {"id": "A-1"}, '{"error": 1}', ok=False),)
    assert [card.name for card in seen.experts] == ["small"]
    assert seen.transcript == '{"call": {"name": "find", "arguments": {"id": "A-1"}}, "result": {"error": 1}}'


def test_a_proposed_call_is_made_its_result_is_shown_and_an_answer_is_told():
    router = cheapest()
    assert next_action(router, situation()) == Ask("small")
    proposed = asked("small", {"call": FIND})
    assert next_action(router, situation(proposed)) == Make("find", {"id": "A-1"})
    found = Step("find", {"id": "A-1"}, "{}")
    assert next_action(router, situation(proposed, found)) == Ask("small")
    assert next_action(router, situation(proposed, found, asked("small", {"answer": "Done."}))) == Say("Done.")


@pytest.mark.parametrize("reply", ["I'm sorry, but I can't.", "It is 42."])
def test_plain_words_are_an_answer(reply):
    assert next_action(cheapest(), situation(asked("small", reply))) == Say(reply)


@pytest.mark.parametrize("reply", ['{"call": {"name": "fi', '{"call": {}}', "[]"[:0], '{"answer": ""}'])
def test_a_fixed_router_gives_up_on_what_proposes_nothing(reply):
    action = next_action(cheapest(), situation(asked("small", reply)))
    assert isinstance(action, Say)
    assert action.text in (GIVE_UP, reply)


def test_a_refused_call_is_not_made_twice():
    proposed, refused = asked("small", {"call": FIND}), Step("find", {"id": "A-1"}, '{"error": 1}', ok=False)
    assert next_action(cheapest(), situation(proposed, refused, proposed)) == Say(GIVE_UP)
    assert next_action(Cascade(), situation(proposed, refused, proposed)) == Ask("middle")


def test_a_cascade_climbs_with_every_failure_and_stays_where_it_is():
    late = asked("small", "too late", ok=False)
    assert next_action(Cascade(), situation(late)) == Ask("middle")
    step = (late, asked("middle", {"call": FIND}), Step("find", {"id": "A-1"}, "{}"))
    assert next_action(Cascade(), situation(*step)) == Ask("middle")
    broken = [asked(name, "", ok=False) for name in CARDS]
    assert next_action(Cascade(), situation(*broken)) == Say(GIVE_UP)


def test_a_cascade_obeys_plain_words():
    late = asked("small", "", ok=False)
    assert next_action(Cascade(), situation(preference="No matter the cost, I want the best answer.")) == Ask("large")
    assert next_action(Cascade(), situation(late, preference="Please keep it cheap.")) == Say(GIVE_UP)


def test_the_strongest_is_the_strongest_and_random_is_fair_and_steady():
    assert next_action(always_strongest(), situation()) == Ask("large")
    drawn = [at_random(7).choose(situation(opening=f"task {n}")) for n in range(600)]
    assert drawn == [at_random(7).choose(situation(opening=f"task {n}")) for n in range(600)]
    assert all(abs(drawn.count(name) - 200) < 3 * (600 * 2 / 9) ** 0.5 for name in CARDS)


def test_the_oracle_asks_the_cheapest_that_is_right_else_the_strongest():
    right = {("small", 0): False, ("middle", 0): True, ("large", 0): True}
    oracle = Oracle(lambda opening, expert, step: right.get((expert, step), False))
    assert next_action(oracle, situation()) == Ask("middle")
    assert next_action(oracle, situation(Step("find", {}, "{}"))) == Ask("large")


def test_golden_plays_the_solution_of_its_request_only():
    golden = Golden({"Cancel my ticket.": Solution([("find", {"id": "A-1"})], "Done.")})
    assert golden(situation()) == Make("find", {"id": "A-1"})
    assert golden(situation(Step("find", {"id": "A-1"}, "{}"))) == Say("Done.")
    with pytest.raises(NotFoundError, match="no reference solution"):
        golden(situation(opening="Something else."))


def test_a_closing_turn_gets_the_newest_answer_or_a_plain_admission():
    assert next_action(cheapest(), situation(closing=True)) == Say(GIVE_UP)
    told = asked("small", {"answer": "It is done."})
    assert next_action(cheapest(), situation(told, Step("find", {}, "{}"), closing=True)) == Say("It is done.")


def test_untrained_a_text_router_asks_whose_description_is_nearest():
    vectors = TfIdf(tuple(card.description for card in CARDS.values()))
    router = TextRouter(vectors)
    assert router.choose(situation(opening="When do trains leave, and are there tickets?")) == "small"
    assert router.choose(situation(opening="Where are my parcels and orders?")) == "middle"


def test_trained_it_asks_the_expert_of_the_highest_expected_utility():
    train, shop = ["the train to Larkfield"] * 30, ["the parcel from the shop"] * 30
    vectors = TfIdf((*train, *shop))
    right = np.array([[1, 0, 1]] * 30 + [[0, 0, 1]] * 30, dtype=np.float64)
    router = TextRouter(vectors, fit(vectors.rows([*train, *shop]), tuple(CARDS), right))
    assert router.choose(situation(opening="a train")) == "small"
    assert router.choose(situation(opening="a parcel")) == "large"


def test_for_experts_that_it_does_not_know_it_goes_back_to_descriptions():
    vectors = TfIdf(tuple(card.description for card in CARDS.values()))
    classifier = fit(vectors.rows(["a"] * 4), ("somebody", "else"), np.ones((4, 2)))
    assert TextRouter(vectors, classifier).choose(situation(opening="trains and tickets")) == "small"


def test_each_text_is_embedded_once():
    class Counting:
        texts: list[str] = []

        def embed(self, texts):
            self.texts.extend(texts)
            return np.eye(2, dtype=np.float32)[[len(text) % 2 for text in texts]]

    embedder = Counting()
    rows = Embeddings(embedder.embed)
    assert rows.rows(["a", "bb", "a"]).tolist() == [[0, 1], [1, 0], [0, 1]]
    rows.rows(["bb", "ccc"])
    assert embedder.texts == ["a", "bb", "ccc"]
