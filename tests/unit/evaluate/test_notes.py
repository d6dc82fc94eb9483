"""What a report says before its figures: who did not play what, what was left out, and who was judged on what it learnt from."""

import asyncio
import json

import pytest

from tests.support.dialogues import dialogue
from tests.support.episodes import QA, WORLDS, rates
from toolorchestra.training.evaluate.errors import InvalidPlanError
from toolorchestra.training.evaluate.evaluating import Evaluation
from toolorchestra.training.evaluate.notes import notes_on
from toolorchestra.training.evaluate.output import HTML_NAME, JSON_NAME
from toolorchestra.training.evaluate.records import read_records
from toolorchestra.training.evaluate.staging import stage_plan
from toolorchestra.worlds.loading import load_tasks

SIMULATED = ["cheapest", "strongest", "random", "cascade", "lexical", "oracle", "monolith:*"]
STRANGE = "Not simulated here: simulated experts know nothing of mine, dialogues, so cheapest, strongest, random, cascade,"


def lines_in(path, *records):
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return str(path)


@pytest.fixture
def strange(material, tmp_path):
    """Suites that simulated experts know nothing of: questions of one's own, and dialogues."""
    mine = lines_in(tmp_path / "mine.jsonl", *({"id": n, "question": f"{n} plus 1?", "answer": str(n + 1)} for n in range(3)))
    tasks = [dialogue(task) for task in list(load_tasks(material / "railway"))[:2]]
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    return [
        {"kind": "user", "file": mine, "grader": "numeric", "name": "mine"},
        {"kind": "tau2", "file": str(tmp_path / "tasks.json"), "world": "railway", "name": "dialogues"},
    ]


def test_what_simulated_experts_know_nothing_of_is_played_by_nobody_who_needs_them(a_plan, strange, tmp_path):
    plan = a_plan(suites=[WORLDS | {"count": 2}, QA | {"count": 2}, *strange], policies=["golden", "nothing", *SIMULATED])
    done = asyncio.run(Evaluation(plan, tmp_path / "out").run())
    episodes = read_records(tmp_path / "out" / "episodes.jsonl").episodes
    for suite in ("mine", "dialogues"):
        assert rates(episodes, suite=suite) == {"golden": 1.0, "nothing": 0.0}
    assert {"oracle", "lexical"} < rates(episodes, suite="worlds").keys()
    (row,) = [row for row in done.report.parts if (row.suite, row.topic) == ("mine", "")]
    assert row.cells.keys() == {"golden", "nothing"}
    assert any(note.startswith(STRANGE) for note in json.loads((tmp_path / "out" / JSON_NAME).read_text())["notes"])
    assert STRANGE in (tmp_path / "out" / HTML_NAME).read_text()


def test_a_plan_that_leaves_a_policy_nothing_to_play_is_refused(a_plan, strange):
    with pytest.raises(InvalidPlanError, match="know nothing of mine, dialogues, and nobody else plays oracle") as caught:
        a_plan(suites=strange, policies=["golden", "oracle"])
    assert caught.value.param == "policies"
    assert stage_plan(a_plan(suites=strange, policies=["golden", "prompted:local"])).subjects


def test_managers_that_are_offered_experts_who_know_nothing_of_it_are_told(a_plan, strange):
    policies = ["golden", "prompted:local"]
    (note,) = notes_on(stage_plan(a_plan(suites=strange, policies=policies)))
    assert "were offered to prompted:local all the same; cast.offered: false leaves them out" in note
    assert notes_on(stage_plan(a_plan(suites=strange, policies=policies, cast={"offered": False}))) == ()


def hle(number, **fields):
    return {"id": str(number), "question": "Which?", "answer": "A", "answer_type": "multipleChoice"} | fields


def test_questions_with_pictures_are_left_out_and_counted(a_plan, tmp_path):
    seen = hle(1, image="data:image/png;base64,")
    suite = {"kind": "hle", "file": lines_in(tmp_path / "hle.jsonl", seen, hle(2))}
    assert notes_on(stage_plan(a_plan(suites=[suite], policies=["golden"]))) == ("Left out: hle: 1 tasks, needs an image.",)
    lines_in(tmp_path / "hle.jsonl", seen)
    with pytest.raises(InvalidPlanError, match="no task can be played here; 1: needs an image"):
        stage_plan(a_plan(suites=[suite], policies=["golden"]))


def test_a_tag_that_no_task_has_is_told_though_another_gave_tasks(a_plan):
    suite = {"kind": "qa", "file": "questions.jsonl", "split": ["train", "heldout-documnet"]}
    (note,) = notes_on(stage_plan(a_plan(suites=[suite])))
    assert note == "In vain: no task of qa has the tag heldout-documnet."


TRAINING = {"questions": "questions.jsonl", "split": ["train"]}


@pytest.mark.parametrize(
    ("suite", "training", "told"),
    [
        ({"split": ["train"]}, TRAINING, "Judged on what was learnt: lexical learnt from 29 of these 29 tasks."),
        ({}, TRAINING, "Judged on what was learnt: lexical learnt from 29 of these 40 tasks."),
        ({"split": ["heldout-document"]}, TRAINING, None),
        ({"split": ["train"]}, {}, None),
        ({"split": ["train"]}, TRAINING | {"count": 5}, "lexical learnt nothing: training holds 5 requests"),
    ],
)
def test_routers_that_are_judged_on_what_they_learnt_from_are_told(a_plan, suite, training, told):
    plan = a_plan(suites=[{"kind": "qa", "file": "questions.jsonl"} | suite], policies=["golden", "lexical"], training=training)
    notes = notes_on(stage_plan(plan))
    assert len(notes) == bool(told)
    assert "".join(notes).startswith(told or "")
    assert notes_on(stage_plan(plan.model_copy(update={"policies": ("golden",)}))) == ()


@pytest.mark.parametrize(
    ("fields", "told", "where"),
    [
        (
            {"policies": ["golden", "monolith:typo"]},
            "policies: there is no 'monolith:typo' .with cast.seed 3 there are",
            "policies",
        ),
        (
            {"policies": ["golden", "monolith:*"], "report": {"policy": "monolith:typo"}},
            "report.policy: there is no 'monolith:typo'",
            "report.policy",
        ),
        (
            {"policies": ["golden", "lexical"], "training": TRAINING | {"split": ["tarin"]}},
            "no task or question has one of the tags tarin .there are heldout-document.*, train; split: .. takes all",
            "training.split",
        ),
    ],
)
def test_names_that_only_the_cast_or_the_files_can_tell_are_refused_before_anything_is_played(
    a_plan, tmp_path, fields, told, where
):
    with pytest.raises(InvalidPlanError, match=told) as caught:
        asyncio.run(Evaluation(a_plan(**fields), tmp_path / "out").run())
    assert caught.value.param == where
    assert not (tmp_path / "out").exists()
