"""What two splits share is counted exactly, and what must not be shared ends the build with names."""

import pytest

from tests.support.library import task
from toolorchestra.training.toolscale.contamination import NEAR, as_json, overlaps, require_clean
from toolorchestra.training.toolscale.errors import ContaminatedSplitsError
from toolorchestra.training.toolscale.shingles import Shelf, grams, words
from toolorchestra.worlds.tasks import GoldenCall, User

LONG_TEXT = "please lend me the second volume of the long history of rivers today"


def ask(number, split, template="borrow.0", text=None, due=None):
    golden = (GoldenCall(id="c1", tool="lend", arguments={"due": due or f"2026-03-{number:02d}"}),)
    user = User(persona="plain", opening=text or f"wish number {number} of somebody called {number}")
    return task(id=f"t{number}", split=split, template=template, golden=golden, user=user)


def between(tasks, first, second):
    (found,) = [one for one in overlaps(tasks) if (one.first, one.second) == (first, second)]
    return found


def test_clean_splits_pass_and_every_pair_is_listed():
    tasks = [ask(1, ("train",)), ask(2, ("test",)), ask(3, ("heldout-intent",), "fetch.0")]
    found = overlaps(tasks)
    assert [(one.first, one.second) for one in found] == [
        ("train", "test"),
        ("train", "heldout-intent"),
        ("test", "heldout-intent"),
    ]
    assert found[0].shared_pairs == ("library/borrow.0",)
    require_clean(found)


def test_a_template_that_is_held_out_and_learnt_ends_the_build():
    tasks = [ask(1, ("train",), "fetch.1+borrow.0"), ask(2, ("heldout-template",), "borrow.0+lend.1")]
    with pytest.raises(ContaminatedSplitsError, match=r"train and heldout-template share 1 templates.*library/borrow\.0"):
        require_clean(overlaps(tasks))


def test_a_solution_that_is_held_out_and_learnt_ends_the_build():
    tasks = [ask(1, ("train",), due="2026-03-16"), ask(2, ("heldout-intent",), "fetch.0", due="2026-03-16")]
    with pytest.raises(ContaminatedSplitsError, match="0 templates and 1 solutions"):
        require_clean(overlaps(tasks))


def test_two_held_out_splits_may_share_and_tasks_in_both_are_not_compared_with_themselves():
    both = ask(1, ("heldout-intent", "heldout-template"), "fetch.1")
    tasks = [both, ask(2, ("heldout-intent",), "fetch.0"), ask(3, ("heldout-template",), "borrow.1")]
    found = between(tasks, "heldout-intent", "heldout-template")
    assert (found.tasks, found.common_tasks, found.shared_pairs, found.shared_golden) == ((2, 2), 1, (), ())
    require_clean([found])


def test_phrases_and_near_copies_are_found():
    tasks = [
        ask(1, ("train",), text=LONG_TEXT),
        ask(2, ("train",), text="something else altogether"),
        ask(3, ("heldout-intent",), "fetch.0", text=LONG_TEXT.replace("today", "now")),
    ]
    found = between(tasks, "train", "heldout-intent")
    assert found.phrase_share == pytest.approx(5 / 6)
    assert found.nearest_pair == ("t1", "t3")
    assert found.nearest_max == pytest.approx(10 / 12)
    assert found.near_copies == (found.nearest_max >= NEAR) == 1
    (plain,) = as_json([found])
    assert plain["must_be_clean"] is True
    assert plain["nearest_max"] == pytest.approx(0.8333)


def test_words_keep_ids_dates_and_addresses_whole():
    assert words("Hi, I'm Ada (ada@post.example). Book BO-4, 2026-03-14!") == [
        *("hi", "i'm", "ada", "ada@post.example"),
        *("book", "bo-4", "2026-03-14"),
    ]


def test_a_text_shorter_than_a_gram_is_one_gram():
    assert grams(["one", "two"], 3) == [("one", "two")]
    assert grams([], 3) == []
    assert len(grams(list("abcdef"), 3)) == 4


def test_similarity_is_jaccard_and_nobody_is_their_own_neighbour():
    texts = [grams(words(text), 1) for text in ("a b c", "a b d", "x y")]
    shelf = Shelf(texts)
    assert list(shelf.similarities(texts[0])) == [1.0, 0.5, 0.0]
    assert list(shelf.nearest(texts, own=True).similarity) == [0.5, 0.5, 0.0]
    assert list(Shelf([]).nearest(texts).similarity) == [0.0, 0.0, 0.0]
