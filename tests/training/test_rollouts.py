"""Episodes are played by the platform's own loop, side by side: nobody waits for another's tools."""

import asyncio
from dataclasses import dataclass

import pytest

from toolorchestra.core.calls import Executor, Outcome, Status
from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.core.policyformat import beginning
from toolorchestra.core.rewards.episodes import EpisodeOutcome
from toolorchestra.training.grpo.grouping import Grouping, Schedule, whole_groups
from toolorchestra.training.grpo.policies import PolicyBackend
from toolorchestra.training.grpo.rollouts import Engine, Seat
from toolorchestra.training.grpo.testing import OraclePolicy
from toolorchestra.training.grpo.tiny.routes import Draw
from toolorchestra.training.grpo.tiny.staging import Routes, oracle, scene_of


def tasks_of(count, seed=5):
    return [Draw(seed).task(number) for number in range(count)]


async def test_the_oracles_route_is_right_and_costs_what_the_oracle_says(codec):
    tasks = tasks_of(12)
    engine = Engine(OraclePolicy(codec, tasks), codec)
    episodes = await engine.play([Seat(scene_of(task)) for task in tasks])
    for task, episode in zip(tasks, episodes, strict=True):
        assert episode.rollout.outcome is EpisodeOutcome.OK
        assert episode.first_call == oracle(task).name
        assert episode.rollout.cost_nano_usd == scene_cost(task, oracle(task).name)
        assert episode.state.ended.answer == task.answer


def scene_cost(task, name):
    return next(round(float(card.usd) * 1_000_000_000) for card in task.cards if card.name == name)


async def test_turns_are_written_together(codec):
    tasks = tasks_of(12)
    backend = OraclePolicy(codec, tasks)
    await Engine(backend, codec).play([Seat(scene_of(task)) for task in tasks])
    assert backend.batches == [12, 12]


async def test_a_drawn_first_tool_is_called_whatever_the_policy_would(codec):
    (task,) = tasks_of(1)
    drawn = next(card for card in task.cards if card is not oracle(task))
    backend = OraclePolicy(codec, [task])
    (episode,) = await Engine(backend, codec).play([Seat(scene_of(task), explored=drawn.name)])
    assert episode.first_call == drawn.name
    forced = [i for i, mark in zip(episode.trajectory.ids, episode.trajectory.forced, strict=True) if mark]
    assert codec.decode(forced) == beginning(drawn.name)


@dataclass
class Slow(Executor):
    """Tools that take real time before they answer."""

    inner: Executor
    crowd: "Crowd"

    async def execute(self, call):
        self.crowd.now += 1
        self.crowd.most = max(self.crowd.most, self.crowd.now)
        await asyncio.sleep(0.25)
        self.crowd.now -= 1
        return await self.inner.execute(call)


@dataclass
class Crowd:
    now: int = 0
    most: int = 0


async def test_an_episode_waits_for_its_own_tools_alone(codec):
    """All tools of 64 episodes are under way at the same time, and the policy is asked as often as without them."""
    tasks, crowd = tasks_of(64), Crowd()
    scenes = [scene_of(task) for task in tasks]
    slow = [scene_with(scene, lambda s=scene: Slow(s.executor(), crowd)) for scene in scenes]
    backend = OraclePolicy(codec, tasks)
    episodes = await Engine(backend, codec, gather_s=5.0).play([Seat(scene) for scene in slow])
    assert crowd.most == 64
    assert backend.batches == [64, 64]
    assert all(episode.rollout.right for episode in episodes)


def scene_with(scene, executor):
    from dataclasses import replace

    return replace(scene, executor=executor)


async def test_the_same_seed_plays_the_same_groups(codec, random_model):
    from toolorchestra.training.grpo.local_policy import LocalPolicy

    def grouping():
        engine = Engine(LocalPolicy(random_model, codec, seed=4), codec)
        return Grouping(Routes(Draw(5), 100), engine, 8, seed=4)

    first, second = [await grouping().play([3, 4], step=7) for _ in range(2)]
    assert [e.trajectory.ids for g in first for e in g.episodes] == [e.trajectory.ids for g in second for e in g.episodes]
    assert [e.explored for g in first for e in g.episodes] == [e.explored for g in second for e in g.episodes]
    assert sum(e.explored is not None for g in first for e in g.episodes) == 2


async def test_what_an_episode_draws_does_not_depend_on_who_plays_beside_it(codec, random_model):
    from toolorchestra.training.grpo.local_policy import LocalPolicy

    engine = Engine(LocalPolicy(random_model, codec, seed=4), codec)
    together = await Grouping(Routes(Draw(5), 100), engine, 8, seed=4).play([3, 4, 5], step=7)
    alone = [await Grouping(Routes(Draw(5), 100), engine, 8, seed=4).play([number], step=7) for number in (5, 4, 3)]
    ids = {group.scene.id: [episode.trajectory.ids for episode in group.episodes] for group in together}
    assert ids == {group.scene.id: [episode.trajectory.ids for episode in group.episodes] for (group,) in alone}
    assert len({tuple(one) for some in ids.values() for one in some}) == 24


def test_a_batch_of_broken_groups_is_refused():
    assert whole_groups(["3"] * 4 + ["5"] * 4, 4) == 2
    with pytest.raises(InvalidRequestError, match="whole groups of 4"):
        whole_groups(["3"] * 4 + ["5"] * 2, 4)
    with pytest.raises(InvalidRequestError, match="whole groups of 4"):
        whole_groups(["3", "3", "5", "5"], 4)


async def test_what_the_policy_raises_ends_the_rollout(codec):
    class Broken(PolicyBackend):
        def begin(self, step):
            pass

        async def write(self, turns):
            raise RuntimeError("out of memory")

    (task,) = tasks_of(1)
    with pytest.raises(ExceptionGroup) as caught:
        await asyncio.wait_for(Engine(Broken(), codec).play([Seat(scene_of(task))]), 10)
    assert caught.group_contains(RuntimeError, match="out of memory")


def test_outcomes_say_ok_for_a_tool_that_answers_wrong(codec):
    task = tasks_of(1)[0]
    card = next(card for card in task.cards if not card.knows(task.kind))
    call = type("Call", (), {"function": type("F", (), {"name": card.name}), "arguments": {"question": task.question}})
    outcome = asyncio.run(scene_of(task).executor().execute(call))
    assert isinstance(outcome, Outcome)
    assert (outcome.status, outcome.content != task.answer) == (Status.OK, True)


def test_every_task_is_played_once_a_round_whoever_plays_it():
    schedule = Schedule(count=10, seed=3)
    played = [n for step in range(5) for rank in range(2) for n in schedule.tasks(step, 2, rank=rank, ranks=2)]
    assert sorted(played[:10]) == sorted(played[10:]) == list(range(10))
    assert played[:10] != played[10:]
    assert [n for step in range(5) for n in schedule.tasks(step, 4)] == played  # one device that plays as much
