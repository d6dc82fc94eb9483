"""A plan chooses among questions by their tags, for what is asked and for what is learnt from."""

import pytest

from toolorchestra.training.evaluate.errors import InvalidPlanError
from toolorchestra.training.evaluate.plan import Training
from toolorchestra.training.evaluate.staging import stage_plan
from toolorchestra.training.evaluate.training import training_set
from toolorchestra.worlds.questions import read_questions, write_questions

QA = {"kind": "qa", "file": "questions.jsonl"}
HELD = ["heldout-document", "heldout-template"]


def test_only_questions_of_the_split_are_asked(a_plan):
    asked = [subject.source for subject in stage_plan(a_plan(suites=[QA | {"split": HELD}])).subjects]
    assert asked
    assert all(set(one.split) & set(HELD) for one in asked)


def test_only_those_of_its_split_are_learnt_from(a_plan):
    training = {"questions": "questions.jsonl"}
    plan = a_plan(training=training, suites=[QA | {"split": HELD}])
    learned = training_set(plan)
    assert {one.split for one in learned} == {Training().split} == {("train",)}
    assert not {one.cluster for one in learned} & {subject.cluster for subject in stage_plan(plan).subjects}
    assert len(training_set(a_plan(training=training | {"split": [*HELD, "train"]}))) > len(learned)


def test_questions_without_tags_are_all_learnt_from(a_plan, material, tmp_path):
    plain = [one.model_copy(update={"split": ()}) for one in read_questions(material / "questions.jsonl")]
    write_questions(tmp_path / "plain.jsonl", plain)
    assert len(training_set(a_plan(training={"questions": str(tmp_path / "plain.jsonl")}))) == len(plain)


def test_a_split_that_no_question_has_is_an_error(a_plan):
    with pytest.raises(InvalidPlanError, match="there is no task with one of the tags heldout-intent"):
        stage_plan(a_plan(suites=[QA | {"split": "heldout-intent"}]))
