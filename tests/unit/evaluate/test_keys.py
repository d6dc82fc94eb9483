"""What makes an episode another one, so that a second start plays it anew, and what does not."""

import asyncio
import json

import pytest

from tests.support.dialogues import dialogue
from tests.support.episodes import QA, WORLDS
from toolorchestra.training.evaluate.episodes import entries_of
from toolorchestra.training.evaluate.errors import InvalidPlanError
from toolorchestra.training.evaluate.evaluating import Evaluation
from toolorchestra.training.evaluate.keys import Circumstances
from toolorchestra.training.evaluate.platform import behind
from toolorchestra.training.evaluate.remote import OWN, Address
from toolorchestra.training.evaluate.staging import stage_plan
from toolorchestra.worlds.loading import load_tasks

JUDGE = {"base_url": "http://127.0.0.1:9/v1", "model": "judge-1"}
LEARNING = {"folders": ["railway"], "split": [], "count": 22}


@pytest.fixture
def files(material, tmp_path):
    """Suites over files of each kind that somebody beside the policy decides about."""
    (tmp_path / "hle.jsonl").write_text(
        json.dumps({"id": "h1", "question": "Who?", "answer": "Ada", "answer_type": "exactMatch"}) + "\n"
    )
    (tmp_path / "mine.jsonl").write_text(json.dumps({"id": "m1", "question": "What is 1 plus 1?", "answer": "2"}) + "\n")
    (tmp_path / "tasks.json").write_text(json.dumps([dialogue(next(iter(load_tasks(material / "railway"))))]))
    mine = {"kind": "user", "file": str(tmp_path / "mine.jsonl"), "grader": "numeric"}
    return {
        "worlds": WORLDS | {"count": 1},
        "qa": QA | {"count": 1},
        "hle": {"kind": "hle", "file": str(tmp_path / "hle.jsonl")},
        "user": mine,
        "tau2": {"kind": "tau2", "file": str(tmp_path / "tasks.json"), "world": "railway"},
    }


def keys(plan, around=None):
    """The keys of a plan by suite and policy; one task each."""
    return {(one.subject.suite, one.policy): one.job.key for one in entries_of(stage_plan(plan), around)}


def changed(before, after):
    assert before.keys() == after.keys()
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    ("fields", "suites"),
    [
        ({"judge": JUDGE | {"model": "judge-2"}}, {"hle"}),
        ({"judge": JUDGE | {"base_url": "http://127.0.0.1:10/v1"}}, {"hle"}),
        ({"judge": JUDGE | {"key_env": "ANOTHER_KEY"}}, set()),
        ({"user": JUDGE}, {"tau2"}),
        ({"config": {"tolerance": 0.1}}, {"user"}),
        ({"training": LEARNING}, set()),  # golden learns nothing
    ],
)
def test_a_judge_a_grader_and_a_user_belong_to_what_they_decide_about_only(a_plan, files, fields, suites):
    policies, config = ["golden"], fields.pop("config", {})
    before = a_plan(suites=list(files.values()), policies=policies, judge=JUDGE)
    other = list((files | {"user": files["user"] | {"config": config}}).values())
    after = a_plan(**({"suites": other, "policies": policies, "judge": JUDGE} | fields))
    assert changed(keys(before), keys(after)) == {(suite, "golden") for suite in suites}


def test_what_a_router_learns_from_is_played_anew_by_who_learns_only(a_plan, tmp_path):
    heard = []

    def play(**fields):
        plan = a_plan(policies=["golden", "lexical", "strongest"], **fields)
        heard.clear()
        return asyncio.run(Evaluation(plan, tmp_path, progress=lambda episode, *_: heard.append(episode.policy)).run())

    def success(done):
        return {one.policy: one.rates.success.value for one in done.report.policies}

    play()
    assert len(heard) == 18
    learned = play(training=LEARNING)
    assert heard == ["lexical"] * 6
    play(training=LEARNING)
    assert heard == []
    anew = asyncio.run(Evaluation(a_plan(policies=["golden", "lexical", "strongest"], training=LEARNING), tmp_path / "b").run())
    assert success(learned) == success(anew)


def test_a_platform_and_what_it_has_under_a_name_belong_to_an_episode(a_plan, files):
    plan = a_plan(suites=[files["qa"]], policies=["golden", "prompted:qwen", "orchestrator:desk"])
    offered = {"qwen": {"digest": "1"}, "desk": {"digest": "2", "policy": "expert:small"}, "small": {"digest": "3"}}

    def of(url="http://one", **change):
        return keys(plan, Circumstances(Address(url, "key").name, behind(plan.policies, offered | change)))

    assert changed(of(), of("http://one/")) == set()
    assert changed(of(), of("http://two")) == of().keys()
    assert changed(of(), of(qwen={"digest": "9"})) == {("qa", "prompted:qwen")}
    assert changed(of(), of(small={"digest": "9"})) == {("qa", "orchestrator:desk")}


def test_a_platform_of_ones_own_is_the_same_on_any_port():
    assert Address("http://127.0.0.1:1", "a", own=True).name == Address("http://127.0.0.1:2", "b", own=True).name == OWN


def test_a_task_that_stands_twice_is_refused_by_name(a_plan, material, tmp_path):
    folders = ["railway", f"../{material.name}/railway/"]
    with pytest.raises(InvalidPlanError, match=r"suite worlds: the task .* stands twice") as caught:
        asyncio.run(Evaluation(a_plan(suites=[WORLDS | {"folders": folders}]), tmp_path / "out").run())
    assert (caught.value.param, caught.value.hint.partition(",")[0]) == ("suites.folders", "name each folder once")


@pytest.mark.parametrize("name", ["judge", "user"])
def test_an_address_that_is_none_is_named_before_anything_is_played(a_plan, tmp_path, name):
    plan = a_plan(**{name: JUDGE | {"base_url": "not a url"}})
    with pytest.raises(InvalidPlanError, match=f"{name}.base_url: 'not a url' is no web address"):
        asyncio.run(Evaluation(plan, tmp_path / "out").run())
    assert not (tmp_path / "out").exists()
