"""What real tools can do is measured by calling them, and stands in every form of the report beside what is assumed of them."""

import asyncio
import json
from collections import Counter
from io import StringIO
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from toolorchestra.training.evaluate.evaluating import Evaluation
from toolorchestra.training.evaluate.page import to_html
from toolorchestra.training.evaluate.plan import parse_plan
from toolorchestra.training.evaluate.real_skills import plugin_routes, real_rows
from toolorchestra.training.evaluate.staging import stage_plan
from toolorchestra.training.evaluate.terminal import print_report
from toolorchestra.worlds.questions import read_questions

QA = {"kind": "qa", "file": "questions.jsonl"}


def rows_of(plan):
    staged = stage_plan(plan)
    return {(row.expert, row.topic): row for row in asyncio.run(real_rows(staged, plugin_routes(staged)))}


@pytest.fixture(scope="module")
def found(material):
    plan = parse_plan({"suites": [QA], "policies": ["golden"]}, source="plan", base=material)
    return rows_of(plan), read_questions(material / "questions.jsonl")


def test_each_label_is_borne_out_by_calling_the_tool_that_it_names(found):
    rows, questions = found
    for name, topic in (("calculator", "arithmetic"), ("python", "code")):
        assert (rows[name, topic].simulated, rows[name, topic].measured) == (1.0, 1.0)
    searched = {one.topic for one in questions if one.need == "search"}
    assert searched
    assert all(rows["local-search", topic].measured == rows["local-search", topic].simulated == 1.0 for topic in searched)


def test_a_search_is_also_given_each_question_as_it_is(found):
    rows, questions = found
    name = "local-search, as asked"
    assert rows[name, "arithmetic"].simulated == 0.0
    assert rows[name, "arithmetic"].measured < 0.2
    assert all(0.5 < rows[name, one.topic].measured <= 1.0 for one in questions if one.need == "search")
    assert ("local-search", "arithmetic") not in rows  # no label says so
    assert ("calculator", "physics") not in rows  # there is no expression to give it


def test_every_row_is_real_and_counts_the_questions_of_its_topic_at_most_ten(found):
    rows, questions = found
    counts = Counter(one.topic for one in questions)
    assert all(row.real for row in rows.values())
    assert all(row.n == min(10, counts[topic]) for (name, topic), row in rows.items() if name == "local-search, as asked")


def test_the_local_model_is_not_measured_without_a_platform_and_the_row_says_why(found):
    rows, questions = found
    mine = {topic: row for (name, topic), row in rows.items() if name == "local"}
    assert mine.keys() == {one.topic for one in questions}
    for row in mine.values():
        assert (row.measured, row.n) == (None, 0)
        assert "not measured: it runs on a platform only: add --platform" in row.note
        assert 0 < row.simulated < 1


def test_a_tool_that_cannot_be_called_is_not_measured_and_its_error_is_told(a_plan, tmp_path):
    body = {
        "apiVersion": "toolorchestra.dev/v1alpha1", "kind": "Tool", "metadata": {"name": "calculator"},
        "spec": {
            "description": "Computes.", "parameters": {"type": "object"}, "plugin": {"name": "abacus"}, "sideEffects": "readOnly",
        },
    }  # fmt: skip
    (tmp_path / "abacus.yaml").write_text(yaml.safe_dump(body))
    row = rows_of(a_plan(suites=[QA], tools=[str(tmp_path / "abacus.yaml")]))["calculator", "arithmetic"]
    assert row.measured is None
    assert f"not measured: {row.n} of {row.n} calls failed: calculator: only installed plug-ins" in row.note


def test_they_stand_in_the_terminal_the_page_and_the_json(a_plan, tmp_path):
    plan = a_plan(suites=[QA | {"count": 8}], policies=["nothing", "monolith:*"])
    done = asyncio.run(Evaluation(plan, tmp_path).run())
    written = json.loads(Path(done.files[0]).read_text())["skills"]
    assert {row["real"] for row in written} == {True, False}
    console = Console(width=140, file=StringIO())
    print_report(done.report, console)
    printed = console.file.getvalue()
    assert "real: measured (assumed)" in printed
    assert "100 % (100 %)" in printed
    assert "! local: " in printed
    assert "simulated: measured (drawn)" in printed
    assert 'calculator <span class="soft">real</span>' in to_html(done.report)


def test_they_are_left_out_where_the_plan_says_so_and_where_nothing_is_asked(a_plan):
    assert rows_of(a_plan(suites=[QA], report={"skill_questions": 0})) == {}
    assert rows_of(a_plan()) == {}
