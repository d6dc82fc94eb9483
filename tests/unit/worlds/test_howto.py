"""The clinic of docs/howto/write-a-world.md is a world, as it is written there, file by file."""

import re
from pathlib import Path

import pytest

from toolorchestra.training.evaluate.plan import EvaluationPlan
from toolorchestra.worlds.check import check
from toolorchestra.worlds.inspection import Inspection
from toolorchestra.worlds.loading import load_tasks, load_world, read_yaml
from toolorchestra.worlds.session import Session

PAGE = Path(__file__).resolve().parents[3] / "docs" / "howto" / "write-a-world.md"
FILE = re.compile(r"^`([\w./-]+)`[^\n]*:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ANSWER = re.compile(r'task\.calls, "([^"]+)"')


@pytest.fixture
def clinic(tmp_path):
    for name, text in FILE.findall(PAGE.read_text()):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path / "clinic"


def test_its_files_are_a_world_without_fault_as_the_page_shows(clinic):
    assert {str(path.relative_to(clinic)) for path in clinic.rglob("*") if path.is_file()} == {
        "world.yaml", "tools.py", "policy.md", "rows/patients.jsonl", "rows/visits.jsonl", "tasks.jsonl",
    }  # fmt: skip
    inspection = Inspection(clinic)
    assert [fault for _, faults in inspection.findings() for fault in faults] == []
    world = inspection.world
    counts = len(world.tools), sum(map(len, world.rows.tables.values())), len(inspection.tasks)
    assert "clinic: {} tools, {} rows, {} tasks, 0 of them faulty".format(*counts) in PAGE.read_text()


def test_its_tasks_are_met_by_the_golden_calls_and_the_answer_of_the_page(clinic):
    (answer,) = ANSWER.findall(PAGE.read_text())
    world, tasks = load_world(clinic), list(load_tasks(clinic))
    assert all(check(world, task, task.calls, answer).success for task in tasks)
    assert not any(check(world, task, task.calls[:2], answer).success for task in tasks)


def test_its_plan_is_a_plan(clinic):
    plan = EvaluationPlan.model_validate(read_yaml(clinic.parent / "clinic.yaml"))
    assert plan.policies[:2] == ("golden", "nothing")


def test_its_tools_do_what_the_page_says(clinic):
    session = Session(load_world(clinic))
    assert session.call("pay_in", {"patient_id": "PT-1107", "amount": "20.00"}).content["balance"] == "26.17"
    visit = session.call("book_visit", {"patient_id": "PT-1107", "begins": "2026-03-03T10:00", "reason": "cough"}).content
    assert session.call("list_visits", {"patient_id": "PT-1107", "day": "2026-03-03"}).rows == {("visits", visit["visit_id"])}
    assert session.call("cancel_visit", {"visit_id": visit["visit_id"]}).ok
    assert session.call("cancel_visit", {"visit_id": visit["visit_id"]}).error_code == "not_booked"
    late = {"patient_id": "PT-1107", "begins": "2026-01-03T10:00", "reason": "x"}
    assert session.call("book_visit", late).error_code == "in_the_past"
