"""Tasks of worlds: all about them but the task itself is drawn anew, and the world's own check says who was right."""

import json
import shutil
from collections import Counter

import pytest
import yaml

from tests.training.built import Follower, build_worlds, request_in
from toolorchestra.core.rewards.episodes import EpisodeOutcome
from toolorchestra.core.rewards.forms import Form, rewarded
from toolorchestra.training.grpo.assembly import tasks_of
from toolorchestra.training.grpo.checkpoints import publish
from toolorchestra.training.grpo.errors import InvalidRunError
from toolorchestra.training.grpo.main import main
from toolorchestra.training.grpo.policies import PolicyBackend, Written
from toolorchestra.training.grpo.rollouts import Engine, Seat
from toolorchestra.training.grpo.settings import GateSettings, TrainingSettings, WorldTasks
from toolorchestra.training.grpo.training import Run
from toolorchestra.training.grpo.worlds import gating
from toolorchestra.training.grpo.worlds.gating import WorldGate
from toolorchestra.training.grpo.worlds.reading import manifest_of, read_companies
from toolorchestra.training.grpo.worlds.staging import WorldScenes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build_worlds(tmp_path_factory.mktemp("worlds"), count=30)


@pytest.fixture
def broken(folder, tmp_path):
    """A copy that may be broken."""
    return shutil.copytree(folder, tmp_path / "broken")


def settings_of(folder, **more):
    return WorldTasks(kind="worlds", folders=(str(folder),), **more)


def scenes_of(folder, **more):
    settings = settings_of(folder, **more)
    return WorldScenes(read_companies(settings.folders), settings, settings.split, settings.draws)


@pytest.fixture(scope="module")
def scenes(folder):
    return scenes_of(folder)


def follower(codec, stages, choose):
    return Follower(codec, {request_in(stage): stage for stage in stages}, choose)


async def played(codec, scenes, number, choose):
    stage = scenes.stage(number)
    engine = Engine(follower(codec, [stage], choose), codec, own_token_ms=0)
    (episode,) = await engine.play([Seat(scenes.scene(number))])
    return stage, episode


async def test_who_follows_an_expert_that_is_right_is_right_at_about_its_cost(codec, scenes):
    numbers = [number for number in range(60) if scenes.stage(number).solvable][:10]
    renamed = 0
    for number in numbers:
        stage, episode = await played(codec, scenes, number, lambda stage: stage.best)
        assert episode.rollout.right, stage.task.id
        alone = stage.alone(stage.best)
        assert 1 <= episode.rollout.cost_nano_usd / alone.cost_nano_usd < 1.25
        renamed += bool(stage.functions)
    assert renamed > 0


async def test_the_dearer_of_two_right_ways_is_worth_less(codec, scenes):
    numbers = (
        n for n in range(100) if scenes.stage(n).models.outcome(scenes.stage(n).cast.strongest.name, task(scenes, n)).right
    )
    number = next(n for n in numbers if scenes.stage(n).best is not scenes.stage(n).cast.strongest)
    _, cheap = await played(codec, scenes, number, lambda stage: stage.best)
    _, dear = await played(codec, scenes, number, lambda stage: stage.cast.strongest)
    yardstick = scenes.scene(number).yardstick
    worth = rewarded([cheap.rollout, dear.rollout], yardstick, Form.REFERENCE).rewards
    assert worth[0] > worth[1] >= 0.5


def task(scenes, number):
    return scenes.stage(number).task.id


async def test_an_answer_without_work_is_wrong(codec, scenes):
    class Idle(PolicyBackend):
        def begin(self, step):
            pass

        async def write(self, turns):
            return [Written([*codec.encode("answer Done."), codec.stop], [0.0], 0) for _ in turns]

    episodes = await Engine(Idle(), codec).play([Seat(scenes.scene(number)) for number in range(8)])
    assert {episode.rollout.outcome for episode in episodes} == {EpisodeOutcome.WRONG}


def test_a_task_is_staged_anew_each_time_and_the_same_for_everybody(folder, scenes):
    again, count = scenes_of(folder), len(scenes.tasks)
    for number in (0, 5, count + 1):
        assert again.scene(number).revision.id == scenes.scene(number).revision.id
        assert again.scene(number).yardstick == scenes.scene(number).yardstick
    stages = [scenes.stage(5 + draw * count) for draw in range(4)]
    assert len({stage.task.id for stage in stages}) == 1
    assert len({stage.cast.names for stage in stages}) == 4
    assert len({stage.cast.strongest.price for stage in stages}) == 4
    assert len(scenes) == 4 * count


def test_what_a_task_needs_is_on_offer_among_few_others(scenes):
    sizes = Counter()
    for number in range(16):
        stage, revision = scenes.stage(number), scenes.scene(number).revision
        offered = {tool.spec.plugin.config["tool"] for tool in stage.tools}
        assert {one.tool for one in stage.task.golden} <= offered
        assert 3 <= len(stage.cast.names) <= 5
        assert len(revision.functions) == len(stage.tools) + len(stage.cast.names)
        needed = len({one.tool for one in stage.task.golden}) + len(stage.cast.names)
        assert len(revision.functions) < max(needed + 1, 12)
        sizes[len(revision.functions) - needed] += 1
    assert len(sizes) > 3


def test_training_sees_neither_held_out_tasks_nor_the_experts_of_tests(folder, scenes):
    assert {tag for one in scenes.tasks for tag in one.split} == {"train"}
    settings = settings_of(folder)
    unseen = WorldScenes(read_companies(settings.folders), settings, settings.held_out, 1, profiles="test")
    assert not {one.id for one in unseen.tasks} & {one.id for one in scenes.tasks}
    names = {name.partition("-")[0] for number in range(12) for name in scenes.stage(number).cast.names}
    assert not names & {name.partition("-")[0] for number in range(12) for name in unseen.stage(number).cast.names}


def test_the_gate_plays_no_task_that_is_trained_on_whatever_its_tags(broken, monkeypatch):
    monkeypatch.setattr(gating, "LEAST_CLUSTERS", 1)
    for file in broken.glob("*/tasks.jsonl"):
        file.write_text(file.read_text().replace('["train"]', '["train", "test"]'))
    run = TrainingSettings.model_validate({"model": {"path": "seed"}, "tasks": settings_of(broken).model_dump()})
    tasks = tasks_of(run.model_copy(update={"gate": GateSettings.model_construct(tasks=1)}))
    assert {tag for one in tasks.source.tasks for tag in one.split} == {"train", "test"}
    judged = {one.id for one in tasks.gate.scenes.tasks}
    assert judged
    assert not judged & {one.id for one in tasks.source.tasks}


def test_the_gate_lets_a_cheap_right_manager_pass_and_tells_why_another_does_not(codec, folder, monkeypatch):
    monkeypatch.setattr(gating, "LEAST_CLUSTERS", 10)
    settings = settings_of(folder)
    unseen = WorldScenes(read_companies(settings.folders), settings, settings.held_out, 1, profiles="test", temperature=0.0)
    gate = WorldGate(GateSettings.model_construct(tasks=24, seed=1, solved_below_oracle=0.03, cost_over_oracle=1.3), unseen)
    stages = [unseen.stage(number) for number in range(len(unseen))]
    good = gate.score(Engine(follower(codec, stages, lambda stage: stage.best), codec))
    assert gate.failures(good) == []
    assert (good.tasks, good.solved >= good.oracle_solved, set(good.worlds)) == (24, True, {"railway", "weather"})
    poor = gate.score(Engine(follower(codec, stages, lambda stage: stage.cast.cheapest), codec))
    (reason,) = gate.failures(poor)
    assert reason.startswith("success may be lower by")


def test_a_gate_without_enough_unseen_tasks_is_refused(folder):
    run = {"model": {"path": "seed"}, "tasks": {"kind": "worlds", "folders": [str(folder)]}}
    with pytest.raises(InvalidRunError, match="400 unseen tasks of 40 intents are needed"):
        tasks_of(TrainingSettings.model_validate(run))


def test_tags_that_no_task_has_are_refused(folder):
    tasks = {"kind": "worlds", "folders": [str(folder)], "split": ["trian"]}
    with pytest.raises(InvalidRunError, match="no task has one of the tags trian"):
        tasks_of(TrainingSettings.model_validate({"model": {"path": "seed"}, "tasks": tasks, "gate": None}))


def test_the_manifest_names_the_data_by_its_hashes_and_licences(folder):
    companies = read_companies([str(folder)])
    found = manifest_of(companies, [])
    assert set(found["worlds"]) == {"railway", "weather"}
    assert all(len(one["contentHash"]) == 32 and len(one["tasksSha256"]) == 64 for one in found["worlds"].values())
    assert found["licences"] == ["not stated: set tasks.licences"]
    assert manifest_of(companies, ["CC-BY-4.0"])["licences"] == ["CC-BY-4.0"]


def test_the_manifest_tells_how_a_set_was_built(broken):
    (broken / "manifest.json").write_text(json.dumps({"toolscale": "0.1.0", "seed": 3, "wording_model": None, "worlds": {}}))
    found = manifest_of(read_companies([str(broken)]), [])
    assert found["builds"] == [{"toolscale": "0.1.0", "seed": 3, "tasks_per_domain": None, "wording_model": None}]
    assert "carries no licence of others" in found["licences"][0]


def refused(folder, tmp_path, capsys):
    """What a run with these worlds says before it begins."""
    file = tmp_path / "run.yaml"
    run = {"model": {"path": "nowhere"}, "tasks": {"kind": "worlds", "folders": [str(folder)]}, "gate": None}
    file.write_text(yaml.safe_dump(run))
    assert main([str(file), "--out", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()
    return capsys.readouterr().err


def test_a_broken_row_is_named_with_its_line(broken, tmp_path, capsys):
    rows = broken / "railway" / "rows" / "passengers.jsonl"
    lines = rows.read_text().splitlines()
    rows.write_text("\n".join([*lines[:2], lines[2][:-9], *lines[3:]]) + "\n")
    assert f"{rows}:3: not valid JSON" in refused(broken, tmp_path, capsys)


def test_a_row_of_the_wrong_shape_is_named_with_its_line(broken, tmp_path, capsys):
    rows = broken / "railway" / "rows" / "passengers.jsonl"
    lines = rows.read_text().splitlines()
    rows.write_text("\n".join([lines[0], json.dumps({**json.loads(lines[1]), "shoe_size": 42}), *lines[2:]]) + "\n")
    told = refused(broken, tmp_path, capsys)
    assert f"{rows}:2" in told
    assert "shoe_size" in told


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda one: one | {"golden": []}, "golden: "),
        (lambda one: one | {"golden": [{"id": "c1", "tool": "fly", "arguments": {}}]}, "the tool 'fly' is not in this world"),
        (lambda one: one | {"user": one["user"] | {"preference": {"weights": {"cost": 2}}}}, "user.preference.weights.cost: "),
        (lambda one: one | {"world": "cinema"}, "it is a task of the world 'cinema'"),
    ],
)
def test_a_broken_task_is_named_with_its_line(broken, tmp_path, capsys, change, told):
    tasks = broken / "weather" / "tasks.jsonl"
    lines = tasks.read_text().splitlines()
    tasks.write_text("\n".join([*lines[:4], json.dumps(change(json.loads(lines[4]))), *lines[5:]]) + "\n")
    assert f"{tasks}:5: {told}" in refused(broken, tmp_path, capsys)


def test_folders_without_worlds_or_with_one_twice_are_named(folder, tmp_path, capsys):
    assert f"tasks.folders: {tmp_path} holds no world" in refused(tmp_path, tmp_path, capsys)
    with pytest.raises(InvalidRunError, match="the world 'railway' is in two of them"):
        read_companies([str(folder), str(folder / "railway")])


def test_a_run_on_worlds_names_its_data_in_its_report(codec, random_model, folder, tmp_path):
    model = publish(random_model, codec.tokenizer, tmp_path / "model", {})
    run = {
        "model": {"path": str(model)},
        "tasks": {"kind": "worlds", "folders": [str(folder)], "turns": 2, "output_tokens": 16, "most_tools": 6},
        "rollout": {"group_size": 2, "groups_per_step": 2},
        "optimiser": {"steps": 1},
        "gate": None,
    }
    trained = Run(TrainingSettings.model_validate(run), tmp_path / "out").train()
    assert (trained.steps, trained.model) == (1, None)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert set(report["data"]["worlds"]) == {"railway", "weather"}
    assert "tasksSha256" in (tmp_path / "out" / "report.html").read_text()
