"""What is held out of the questions is never learnt: documents and templates are on one side, whatever the seed."""

from collections import defaultdict

import pytest

from toolorchestra.training.toolscale.contamination import overlaps, require_clean
from toolorchestra.training.toolscale.errors import ContaminatedSplitsError
from toolorchestra.training.toolscale.qa.building import build_questions
from toolorchestra.training.toolscale.qa.dividing import question_splits, tags_of
from toolorchestra.training.toolscale.splits import HELDOUT_DOCUMENT, HELDOUT_TEMPLATE, QUESTION_SPLITS, TEST, TRAIN
from toolorchestra.worlds.questions import Need

HELD = {HELDOUT_DOCUMENT, HELDOUT_TEMPLATE}


@pytest.fixture(scope="module")
def questions():
    return build_questions(7).questions


def test_each_question_has_one_split_and_none_is_empty(questions):
    assert all(len(one.split) == 1 for one in questions)
    counts = question_splits(questions)
    assert list(counts) == list(QUESTION_SPLITS)
    assert min(counts.values()) >= 40
    assert counts[TRAIN] > len(questions) / 2


def test_a_document_or_template_is_on_one_side_for_every_seed(questions):
    sides = defaultdict(set)
    for one in [*questions, *build_questions(8, count=200).questions]:
        sides[one.cluster].add(one.split[0] if one.split[0] in HELD else "seen")
    assert all(len(side) == 1 for side in sides.values())
    assert {next(iter(side)) for side in sides.values()} == {*HELD, "seen"}


def test_documents_are_held_out_of_searches_and_templates_of_the_rest(questions):
    for one in questions:
        assert not (one.need is Need.SEARCH and HELDOUT_TEMPLATE in one.split)
        assert not (one.need is not Need.SEARCH and HELDOUT_DOCUMENT in one.split)


def test_the_same_question_has_the_same_split_in_every_build():
    assert tags_of("arithmetic/discount", Need.ARITHMETIC, "a") == tags_of("arithmetic/discount", Need.ARITHMETIC, "a")
    found = {tags_of("arithmetic/discount", Need.ARITHMETIC, str(key)) for key in range(100)}
    assert found == {(TRAIN,), (TEST,)}


def test_what_is_learnt_shares_no_document_template_or_solution_with_what_is_held_out(questions):
    found = {one.second: one for one in overlaps(questions) if one.first == TRAIN}
    assert found.keys() == {TEST, *HELD}
    for name in HELD:
        assert (found[name].shared_pairs, found[name].shared_golden, found[name].near_copies) == ((), (), 0)
    assert found[TEST].shared_pairs  # other questions on the same documents
    assert found[TEST].shared_golden == ()


def test_a_held_out_document_among_what_is_learnt_ends_the_build(questions):
    held = [one for one in questions if HELDOUT_DOCUMENT in one.split]
    moved = held[0].model_copy(update={"id": "moved", "split": (TRAIN,)})
    with pytest.raises(ContaminatedSplitsError, match=f"train and heldout-document share 1 templates.*qa/{held[0].cluster}"):
        require_clean(overlaps([*questions, moved]))


def test_so_does_a_held_out_question_without_a_tool(questions):
    held = next(one for one in questions if HELDOUT_TEMPLATE in one.split and one.need is Need.EXPERT)
    moved = held.model_copy(update={"id": "moved", "split": (TRAIN,), "cluster": "physics/other"})
    with pytest.raises(ContaminatedSplitsError, match="share 0 templates and 1 solutions"):
        require_clean(overlaps([*questions, moved]))
