"""Managers that nobody simulates: the shipped orchestrator and the model on this machine answer questions, and are told apart."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from toolorchestra.cli.evaluation import Wanted, evaluate
from toolorchestra.cli.shell import Shell
from toolorchestra.training.evaluate.records import Episode, ErrorKind, read_records
from toolorchestra.training.evaluate.report import Report
from toolorchestra.training.toolscale.qa.building import build_questions
from toolorchestra.worlds.questions import write_questions

pytestmark = pytest.mark.timeout(600)
SHIPPED, PROMPTED = "orchestrator:toolorchestra", "prompted:local"
QUESTIONS = 4


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that servers of another user may reach, with what came of the evaluation in ``out``."""
    folder = Path(tempfile.mkdtemp(prefix="to-real-"))
    write_questions(folder / "questions.jsonl", build_questions(5, count=20).questions)
    plan = {
        "seed": 3,
        "cast": {"offered": False},
        "suites": [{"kind": "qa", "file": "questions.jsonl", "count": QUESTIONS}],
        "policies": [SHIPPED, PROMPTED],
        "limits": {"parallel": 1, "episode": {"turns": 4, "output_tokens": 128}},
        "report": {"resamples": 100, "skill_questions": 1},
    }
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def report(folder) -> Report:
    return evaluate(Shell(), folder / "plan.yaml", Wanted(out=folder / "out"))


@pytest.fixture(scope="module")
def episodes(folder, report) -> list[Episode]:
    del report
    return list(read_records(folder / "out" / "episodes.jsonl").episodes)


def of(episodes: list[Episode], policy: str) -> list[Episode]:
    return [one for one in episodes if one.policy == policy]


def test_every_episode_is_a_real_run_that_took_time_and_is_not_simulated(episodes):
    assert len(of(episodes, SHIPPED)) == len(of(episodes, PROMPTED)) == QUESTIONS
    for one in episodes:
        assert one.error is not ErrorKind.ENVIRONMENT, one.error_message
        assert one.run_id.startswith("run-")
        assert one.latency_ms > 0
        assert one.turns > 0
        assert not one.simulated
        assert one.cost_nano_usd == 0  # the model and the tools of this machine are free


def test_tokens_are_those_that_the_model_counted(episodes):
    for one in of(episodes, PROMPTED):
        assert one.input_tokens > 100, one  # the tools stand in its prompt
        assert one.output_tokens > 0
    assert sum(one.output_tokens for one in of(episodes, SHIPPED)) > 0  # a rule manages, and asks the model


def test_tools_are_called_for_real(episodes):
    called = {name for one in of(episodes, SHIPPED) for name in one.calls}
    assert called & {"calculator", "local-search"}
    assert "local" in called
    assert all(one.answer_digest for one in episodes)


def test_a_second_start_on_a_platform_of_its_own_plays_nothing_anew(folder, report):
    before = (folder / "out" / "episodes.jsonl").read_text().count('"kind":"episode"')
    assert evaluate(Shell(), folder / "plan.yaml", Wanted(out=folder / "out")).policies == report.policies
    assert (folder / "out" / "episodes.jsonl").read_text().count('"kind":"episode"') == before


def test_the_report_says_what_happened_whatever_the_score_is(folder, report):
    written = json.loads((folder / "out" / "report.json").read_text())
    by_policy = {one["policy"]: one for one in written["policies"]}
    assert by_policy.keys() == {SHIPPED, PROMPTED}
    for one in by_policy.values():
        assert one["family"] == "manager"
        assert (one["tasks"], one["simulated"]) == (QUESTIONS, 0)
        assert 0 <= one["rates"]["success"]["value"] <= 1
        assert one["rates"]["latency_per_task"]["value"] > 0
        assert one["rates"]["tokens_per_task"]["value"] > 0
    assert not any(note.startswith("Simulated") for note in report.notes)
    assert written["reproducibility"]["cast"] == "none is offered"
    failed = [one for one in written["worst"] if one["policy"] == PROMPTED]
    assert all(one["error"] for one in failed)


def test_the_local_model_is_measured_beside_the_tools(report):
    assert all(row.real for row in report.skills)
    local = [row for row in report.skills if row.expert == "local"]
    assert local
    for row in local:
        assert row.n == 1
        assert row.measured in (0.0, 1.0), row.note
        assert "not measured" not in row.note
