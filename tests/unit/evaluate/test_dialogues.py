"""Dialogues: what a scripted user says, how runs follow each other in one session, and how their episode is counted and judged."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.support.dialogues import dialogue
from toolorchestra.core.chat import ChatModels, ChatReply
from toolorchestra.core.pricing import Usage
from toolorchestra.training.evaluate.benchmarks.scripted import LOST, YES, ScriptedUser, spoken
from toolorchestra.training.evaluate.benchmarks.tau2 import DialogueTask, load_tau2
from toolorchestra.training.evaluate.dialogues import ModelUser, converse
from toolorchestra.training.evaluate.errors import InvalidPlanError
from toolorchestra.training.evaluate.evaluating import Evaluation
from toolorchestra.training.evaluate.judging import USER, check_dialogue, target_of
from toolorchestra.training.evaluate.plan import ModelPlan
from toolorchestra.training.evaluate.records import read_records
from toolorchestra.training.evaluate.report import to_json
from toolorchestra.training.evaluate.staging import stage_plan
from toolorchestra.worlds.loading import load_tasks, load_world
from toolorchestra.worlds.session import Call

SCENARIO = {
    "domain": "library",
    "reason_for_call": "You want to renew your book. \n\nYou think that you still have a week.",
    "known_info": "You are Ada Byron.\nYour card number is L-77. Your email is ada@post.example.",
    "unknown_info": "You do not know the title of the book.",
    "task_instructions": "If the agent tells you that renewal is not possible, mention that your neighbour did it.\nBe brief.",
}


def record(number=1, *, criteria=None, **fields):
    return {
        "id": number,
        "description": {"purpose": "made up", "relevant_policies": None, "notes": None},
        "user_scenario": {"persona": None, "instructions": SCENARIO},
        "initial_state": None,
        "evaluation_criteria": {
            "actions": [{"action_id": "1_0", "name": "renew", "arguments": {"book": "B-1"}, "info": None}],
            "communicate_info": [],
            "nl_assertions": None,
            "reward_basis": ["DB", "COMMUNICATE"],
        }
        | (criteria or {}),
        "annotations": None,
    } | fields


@pytest.fixture
def load(tmp_path):
    def loaded(*records) -> tuple[DialogueTask, ...]:
        (tmp_path / "tasks.json").write_text(json.dumps(records))
        return load_tau2(tmp_path / "tasks.json")

    return loaded


@pytest.fixture
def user(load):
    return ScriptedUser(load(record())[0])


def said(user, *texts):
    """What the user says after these messages, the user's and the agent's in turn."""
    messages = [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]
    return asyncio.run(user.reply(messages))


@pytest.mark.parametrize(
    ("told", "own"),
    [
        ("You want to cancel your trip.", "I want to cancel my trip."),
        ("You are Emma Kim.\nYour user id is emma_kim_9957.", "I am Emma Kim. My user id is emma_kim_9957."),
        (
            "You're sure that they told you so, and you've paid for yourself.",
            "I'm sure that they told me so, and I've paid for myself.",
        ),
        ("Could you move my seat?", "Could you move my seat?"),
    ],
)
def test_a_scenario_is_said_by_whom_it_is_about(told, own):
    assert spoken(told) == own


def test_a_user_tells_what_is_asked_for_and_nothing_else(user):
    assert said(user, "I want to renew my book.", "What is your card number?") == "My card number is L-77."
    assert said(user, "I want to renew my book.", "Who am I talking to? Please tell me your name.") == "I am Ada Byron."
    assert said(user, "I want to renew my book.", "Could you give me your details?") == (
        "I am Ada Byron. My card number is L-77. My email is ada@post.example."
    )


def test_what_it_does_not_know_it_says_so_and_what_it_is_to_confirm_it_does(user):
    assert said(user, "I want to renew it.", "What is the title of the book?") == "I do not know the title of the book."
    assert said(user, "I want to renew it.", "Shall I proceed?") == YES


def test_it_says_what_the_scenario_has_it_say_once(user):
    refusal = "I am sorry, the renewal is not possible."
    assert said(user, "I want to renew it.", refusal) == "My neighbour did it."
    assert said(user, "I want to renew it.", refusal, "My neighbour did it.", refusal) is None


def test_it_is_content_when_nothing_is_asked_and_gives_up_when_it_is_asked_in_vain(user):
    assert said(user, "I want to renew it.", "Your book is renewed.") is None
    question = "Which colour is your roof?"
    assert said(user, "I want to renew it.", question) == LOST
    assert said(user, "I want to renew it.", question, LOST, question, LOST, question) is None


class Parrot(ChatModels):
    """Replies with the next of some texts, and keeps what it was asked."""

    def __init__(self, *texts):
        self.texts, self.asked = list(texts), []

    async def chat(self, request):
        self.asked.append(request)
        return ChatReply(self.texts.pop(0), Usage())

    async def complete(self, request):
        raise NotImplementedError


def test_a_model_as_user_knows_the_scenario_sees_the_other_side_and_ends_the_dialogue(load):
    (task,) = load(record())
    models = Parrot("It is L-77.", "Thanks! ###STOP###")
    model_user = ModelUser(task, models, target_of(ModelPlan(base_url="http://127.0.0.1:9/v1", model="small"), USER))
    assert said(model_user, "I want to renew it.", "Your card?") == "It is L-77."
    assert said(model_user, "I want to renew it.", "Your card?", "It is L-77.", "Done.") is None
    system, *dialogue = models.asked[0].messages
    assert SCENARIO["known_info"] in system["content"]
    assert [(one["role"], one["content"]) for one in dialogue] == [
        ("assistant", "I want to renew it."),
        ("user", "Your card?"),
    ]


def test_every_run_sees_all_that_was_said_and_a_failed_one_is_the_last():
    class Insistent:
        async def reply(self, messages):
            return f"again {len(messages)}"

    seen = []

    async def run(messages, number):
        seen.append([one["content"] for one in messages])
        return None if number == 3 else f"answer {number}"

    runs = asyncio.run(converse("hello", run, lambda one: one, Insistent(), most=10))
    assert runs == ["answer 0", "answer 1", "answer 2", None]
    assert seen[2] == ["hello", "answer 0", "again 2", "answer 1", "again 4"]
    assert len(asyncio.run(converse("hello", run, lambda one: one, Insistent(), most=2))) == 2
    assert len(asyncio.run(converse("hello", run, lambda one: one, None, most=9))) == 1


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, ""),
        (
            {"initial_state": {"initialization_data": {"agent_data": {}}, "message_history": None}},
            "it begins in a state of its own",
        ),
        ({"initial_state": {"initialization_data": None, "initialization_actions": None}}, ""),
        ({"criteria": {"reward_basis": ["ENV_ASSERTION", "DB"]}}, "it is judged by ENV_ASSERTION"),
        ({"criteria": {"actions": [{"name": "restart", "requestor": "user", "arguments": {}}]}}, "its user has tools"),
        ({"criteria": {"actions": [{"name": "lend", "arguments": {}}]}}, "the world has no lend"),
        ({"criteria": {"actions": []}}, "nothing in it can be checked"),
    ],
)
def test_what_cannot_be_played_or_judged_here_says_why(load, changed, reason):
    assert load(record(**changed))[0].why_not({"renew", "find"}) == reason


@pytest.fixture
def suite(material, tmp_path):
    """τ²-bench's file of three dialogues in the world railway, and of two that cannot be played there."""
    tasks = [dialogue(task) for task in list(load_tasks(material / "railway"))[:3]]
    others = [
        record("user tools", criteria={"actions": [{"name": "restart", "requestor": "user", "arguments": {}}]}),
        record("other"),
    ]
    (tmp_path / "tasks.json").write_text(json.dumps([*tasks, *others]))
    return {"kind": "tau2", "file": str(tmp_path / "tasks.json"), "world": "railway"}


def test_dialogues_are_played_in_several_runs_of_one_session(suite, a_plan, tmp_path):
    plan = a_plan(suites=[suite], policies=["golden", "nothing"])
    done = asyncio.run(Evaluation(plan, tmp_path / "out").run())
    episodes = read_records(tmp_path / "out" / "episodes.jsonl").episodes
    golden = [one for one in episodes if one.policy == "golden"]
    assert [one.success for one in golden] == [True] * 3  # writes of the second run are judged by the state of the session
    assert not any(one.success for one in episodes if one.policy == "nothing")
    for one in golden:
        assert one.turns == sum(one.calls.values()) + 2  # a question in the first run, an answer in the last
        assert one.latency_ms > 0
    (told,) = [note for note in json.loads(to_json(done.report))["notes"] if note.startswith("Left out: ")]
    assert told == "Left out: tau2: 1 tasks, its user has tools; tau2: 1 tasks, the world has no renew."


def test_a_dialogue_has_no_more_runs_than_the_plan_allows(suite, a_plan, tmp_path):
    plan = a_plan(suites=[suite], policies=["golden"], limits={"parallel": 1, "episode": {"runs": 1}})
    asyncio.run(Evaluation(plan, tmp_path / "out").run())
    episodes = read_records(tmp_path / "out" / "episodes.jsonl").episodes
    assert {(one.success, one.turns) for one in episodes} == {(False, 1)}


def test_a_file_without_any_that_can_be_played_is_an_error_with_the_reasons(suite, a_plan):
    path = Path(suite["file"])
    path.write_text(json.dumps(json.loads(path.read_text())[3:]))
    with pytest.raises(InvalidPlanError, match="no task can be played here; 1: its user has tools, 1: the world has no renew"):
        stage_plan(a_plan(suites=[suite], policies=["golden"]))


def test_calls_are_judged_only_where_the_task_asks_for_them(material, load):
    world = load_world(material / "railway")
    name = next(iter(world.tools))
    asked = {"actions": [{"name": name, "arguments": {"email": "a@b.example", "x": 1}, "compare_args": ["email"]}]}
    (task,) = load(record(criteria=asked | {"reward_basis": ["ACTION"]}))
    assert check_dialogue(world, task, [Call(name, {"email": "a@b.example"})], "").success
    assert check_dialogue(world, task, [Call(name, {"email": "c@d.example"})], "").reason == f"it was not called: {name}"
