"""A person's world folder is checked task by task: line, field, problem and fix."""

import json
import shutil

import pytest

from tests.support.library import FACTS, LIBRARY, task
from toolorchestra.worlds.errors import InvalidWorldError
from toolorchestra.worlds.inspection import Inspection
from toolorchestra.worlds.loading import TASKS
from toolorchestra.worlds.tasks import GoldenCall, write_line


@pytest.fixture
def folder(tmp_path):
    def make(*tasks):
        shutil.copytree(LIBRARY, tmp_path / "library")
        (tmp_path / "library" / TASKS).write_text("".join(map(write_line, tasks)))
        return tmp_path / "library"

    return make


def found(path):
    return [finding for _, findings in Inspection(path).findings() for finding in findings]


def test_a_good_task_has_nothing_against_it(folder):
    inspection = Inspection(folder(task()))
    assert [(one.id, findings) for one, findings in inspection.findings()] == [("library-1", [])]


def test_each_fault_has_line_field_and_fix(folder):
    path = folder(
        task(id="other", world="cinema"),
        task(id="twice", intent="a"),
        task(id="twice", intent="b"),
        task(id="nowhere", golden=(GoldenCall(id="c1", tool="fly", arguments={}),), facts=()),
        task(id="idle", golden=(GoldenCall(id="c1", tool="find_member", arguments={"email": "ada@post.example"}),), facts=()),
    )
    faults = found(path)
    assert [(one.line, one.task, one.field) for one in faults] == [
        (1, "other", "world"),
        (2, "twice", "id"),
        (3, "twice", "id"),
        (4, "nowhere", "golden.0.tool"),
        (5, "idle", "facts"),
    ]
    assert all(one.fix and one.problem for one in faults)
    assert str(faults[3]) == f"{path.resolve() / TASKS}:4: golden.0.tool: there is no tool 'fly'"


def test_a_refused_golden_call_and_a_fact_in_the_text_are_told_apart(folder):
    refused = GoldenCall(id="c1", tool="find_member", arguments={"email": "nobody@post.example"})
    faults = found(folder(task(id="refused", golden=(refused,), facts=())))
    assert ["golden call is refused" in one.problem for one in faults] == [True]


def test_a_column_that_is_not_there_is_named(folder):
    nowhere = FACTS[1].model_copy(update={"column": ("books", "shelv")})
    (fault,) = found(folder(task(facts=(nowhere,))))
    assert (fault.field, fault.problem) == ("facts.0.column", "there is no column 'shelv' in 'books'")


def test_a_file_without_tasks_is_refused(folder):
    with pytest.raises(InvalidWorldError, match=r"tasks\.jsonl: holds no task"):
        Inspection(folder())


def test_a_broken_line_is_named(folder):
    path = folder(task())
    with (path / TASKS).open("a") as lines:
        lines.write(json.dumps({"id": "x"}) + "\n")
    with pytest.raises(InvalidWorldError, match=r"tasks\.jsonl:2: "):
        Inspection(path)
