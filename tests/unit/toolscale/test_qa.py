"""Questions are many, verified, answerable by the tools that they name, and the same bytes for the same seed."""

import json
import subprocess
import sys
from collections import Counter

import pytest

from toolorchestra.core.plugins import PluginContext
from toolorchestra.tools.calculator.tool import create as calculator
from toolorchestra.tools.local_search.tool import create as local_search
from toolorchestra.training.toolscale.qa.building import QuestionDrop, build_questions, why_not
from toolorchestra.training.toolscale.qa.corpus import ask_about, read_corpus
from toolorchestra.training.toolscale.qa.drafts import UnsuitableDraftError, cents
from toolorchestra.worlds.errors import InvalidWorldError
from toolorchestra.worlds.questions import Need, QuestionTask, check_question, says_answer, write_questions

CONTEXT = PluginContext("c", "default", 10_000, "c")


@pytest.fixture(scope="module")
def built():
    return build_questions(7)


def of(built, need):
    return [one for one in built.questions if one.need is need]


def test_there_are_enough_questions_of_every_kind(built):
    counts = Counter(one.need for one in built.questions)
    assert sum(counts.values()) >= 600
    assert min(counts.values()) >= 100
    assert len({one.cluster for one in built.questions}) >= 40
    assert len({one.id for one in built.questions}) == len({one.question for one in built.questions}) == len(built.questions)


def test_the_same_seed_gives_the_same_bytes(built, tmp_path):
    for name, seed in (("one", 7), ("two", 7), ("three", 8)):
        write_questions(tmp_path / name, (built if seed == 7 and name == "one" else build_questions(seed)).questions)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert (tmp_path / "one").read_bytes() != (tmp_path / "three").read_bytes()


def test_no_question_is_passed_by_who_does_not_know(built):
    counts = Counter((one.template.partition(".")[0], one.value) for one in built.questions)
    for one in built.questions:
        assert check_question(one, f"It is {one.text}.").success
        assert not check_question(one, one.question).success
        assert not check_question(one, "").success
    frequent = max(counts.values())
    assert frequent <= 4  # nobody gets far by saying one thing


async def test_the_calculator_gives_the_answers_of_arithmetic(built):
    plugin = calculator({})
    for one in of(built, Need.ARITHMETIC):
        result = await plugin.run(one.golden[0].arguments, CONTEXT)
        assert check_question(one, str(result.content)).success, (one.question, result.content)


def test_programs_give_the_answers_over_tables(built):
    programs = {one.id: one.golden[0].arguments["code"] for one in of(built, Need.CODE)}
    runner = "import json,sys,io,contextlib\nout={}\nfor k,c in json.load(sys.stdin).items():\n b=io.StringIO()\n with contextlib.redirect_stdout(b): exec(c,{})\n out[k]=b.getvalue()\nprint(json.dumps(out))"
    done = subprocess.run(
        [sys.executable, "-I", "-c", runner], input=json.dumps(programs), capture_output=True, text=True, check=True
    )
    printed = json.loads(done.stdout)
    for one in of(built, Need.CODE):
        assert check_question(one, printed[one.id].strip()).success, (one.question, printed[one.id])


async def test_search_finds_the_passage_of_nearly_every_question(built, tmp_path):
    plugin = local_search({"cache_dir": str(tmp_path)})
    asked = of(built, Need.SEARCH)
    found = [
        says_answer(one, json.dumps((await plugin.run(one.golden[0].arguments, CONTEXT)).content, ensure_ascii=False))
        for one in asked
    ]
    assert sum(found) / len(found) > 0.95


def a_question(**fields):
    default = {
        "id": "q",
        "question": "How many?",
        "kind": "number",
        "value": 120,
        "topic": "code",
        "need": "code",
        "cluster": "c",
    }
    return QuestionTask(**(default | fields))


@pytest.mark.parametrize(
    ("fields", "frequent", "reason"),
    [
        ({}, None, None),
        ({"value": 7}, None, QuestionDrop.WEAK),
        ({"kind": "text", "value": "Ur"}, None, QuestionDrop.WEAK),
        ({"question": "How many of 120?"}, None, QuestionDrop.PASSES_ECHO),
        ({}, 120, QuestionDrop.PASSES_FREQUENT),
        ({}, 130, None),
        ({"kind": "id", "value": "no id"}, None, None),
    ],
)
def test_why_a_question_is_not_kept(fields, frequent, reason):
    assert why_not(a_question(**fields), frequent) is reason


def test_ones_own_documents_can_be_asked_about(tmp_path):
    (tmp_path / "rivers").mkdir()
    text = "# The Wend\n\nThe Wend was first measured by the surveyor Ilse Brandt in 1874. It is 312 kilometres long and ends near Harrow Bay.\n"
    (tmp_path / "rivers" / "wend.md").write_text(text, encoding="utf-8")
    (document,) = read_corpus(tmp_path)
    assert (document.name, document.topic, document.title) == ("rivers/wend", "rivers", "The Wend")
    from random import Random

    drafts = ask_about(document, Random(1))
    assert {1874, 312} <= {draft.value for draft in drafts}
    assert all(str(draft.value) not in draft.question for draft in drafts)


def test_a_folder_without_documents_is_named(tmp_path):
    with pytest.raises(InvalidWorldError, match="holds no documents"):
        read_corpus(tmp_path)


def test_a_tie_in_rounding_is_no_question():
    from fractions import Fraction

    with pytest.raises(UnsuitableDraftError):
        cents(Fraction(1_005, 1_000))
    assert cents(Fraction(10_051, 10_000)) == 101
