"""Questions: what counts as the answer, files of them, and how simulated experts answer."""

import pytest

from toolorchestra.core.errors import UpstreamTimeoutError
from toolorchestra.core.experts import expert_messages
from toolorchestra.worlds.errors import InvalidWorldError
from toolorchestra.worlds.questions import Need, QuestionTask, check_question, read_questions, write_questions
from toolorchestra.worlds.simulation.cases import TaskBook
from toolorchestra.worlds.simulation.models import SimulatedModels
from toolorchestra.worlds.simulation.profiles import draw_cast
from toolorchestra.worlds.simulation.testing import request_of, target_of
from toolorchestra.worlds.tasks import GoldenCall


def question(**fields):
    default = {
        "id": "qa-1", "question": "How high is K2 in metres?", "kind": "number", "value": 8611, "topic": "geography",
        "need": "search", "cluster": "geography/mountains",
        "golden": (GoldenCall(id="c1", tool="local-search", arguments={"query": "K2 height"}),),
    }  # fmt: skip
    return QuestionTask(**(default | fields))


NAME = {"kind": "text", "value": "Wellington", "others": ("Ottawa", "Ankara", "Bern")}


@pytest.mark.parametrize(
    ("fields", "answer", "right"),
    [
        ({}, "It is 8,611 metres high.", True),
        ({}, "8612", False),
        ({}, "Either 8611 or 8609.", True),
        ({}, "8611, 8610, 8609 or 8612", False),
        ({"value": 445.71}, "445.71", True),
        ({"kind": "money", "value": 1200}, "12", True),
        ({"kind": "money", "value": 1250}, "That is $12.50.", True),
        ({"kind": "money", "value": 1250}, "$12.05", False),
        ({"kind": "date", "value": "1953-05-29"}, "On May 29, 1953.", True),
        (NAME, "wellington", True),
        (NAME, "Ottawa, Ankara, Bern or Wellington", False),
        ({}, "", False),
    ],
)
def test_an_answer_says_the_value_and_little_else(fields, answer, right):
    verdict = check_question(question(**fields), answer)
    assert verdict.success == right
    assert bool(verdict.reason) == (not right)


def test_questions_are_read_as_they_were_written(tmp_path):
    tasks = [question(), question(id="qa-2", **NAME)]
    write_questions(tmp_path / "qa.jsonl", tasks)
    assert read_questions(tmp_path / "qa.jsonl") == tasks


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('{"id": "x"}', "line 1: question"),
        ("nonsense", "line 1"),
        (question().model_dump_json() + "\n" + question().model_dump_json(), "question 2.*twice"),
    ],
)
def test_a_broken_file_names_the_place(tmp_path, text, named):
    path = tmp_path / "qa.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidWorldError, match=named):
        read_questions(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InvalidWorldError, match=r"none\.jsonl"):
        read_questions(tmp_path / "none.jsonl")


TASKS = [question(id=f"qa-{number}", question=f"How high is K2 in metres, number {number}?") for number in range(80)]
CAST = draw_cast(1)
MODELS = SimulatedModels(TaskBook(questions=TASKS), CAST, 3)


async def answer(one, context="", expert=CAST.cheapest.name):
    arguments = {"question": one.question, "context": context}
    headers = {"baggage": f"toolorchestra.session=qa:{one.id}:1"}
    return await MODELS.chat(request_of(MODELS, expert, expert_messages(target_of(MODELS, expert), arguments), headers=headers))


async def share_right(context):
    quiet = [one for one in TASKS if MODELS.outcome(CAST.cheapest.name, one.id).fault is None or not context]
    replies = []
    for one in quiet:
        try:
            replies.append(check_question(one, (await answer(one, context)).text).success)
        except UpstreamTimeoutError:
            replies.append(False)
    return sum(replies) / len(replies)


async def test_experts_answer_in_words_and_are_right_as_drawn():
    for one in TASKS:
        drawn = MODELS.outcome(CAST.strongest.name, one.id)
        if drawn.fault is None or drawn.fault.name == "MISREPORTED":
            reply = await answer(one, expert=CAST.strongest.name)
            assert check_question(one, reply.text).success == drawn.right


async def test_a_passage_that_holds_the_answer_helps():
    assert await share_right("K2 is 8,611 metres high.") > await share_right("") + 0.1


async def test_as_a_manager_it_uses_the_tool_first():
    tool = {"type": "function", "function": {"name": "local-search", "description": "Searches.", "parameters": {}}}
    messages = [{"role": "user", "content": TASKS[0].question}]
    reply = await MODELS.chat(request_of(MODELS, CAST.strongest.name, messages, [tool]))
    assert reply.tool_calls[0].name == "local-search"
    call = {"id": "1", "type": "function", "function": {"name": "local-search", "arguments": reply.tool_calls[0].arguments}}
    messages += [
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "[call 1/0] K2: 8,611 m"},
    ]
    reply = await MODELS.chat(request_of(MODELS, CAST.strongest.name, messages, [tool]))
    assert not reply.tool_calls
    assert TASKS[0].need is Need.SEARCH
    assert check_question(TASKS[0], reply.text).success
