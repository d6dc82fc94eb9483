"""What is measured of a policy: rates over tasks, pairs, tools, favourites and the Pareto front."""

import math

import pytest

from toolorchestra.training.evaluate.measures import (
    bias,
    counted,
    paired,
    pareto_front,
    rates,
    route_entropy,
    tool_shares,
)
from toolorchestra.training.evaluate.records import ErrorKind, Expert
from toolorchestra.training.evaluate.testing import Habit, an_episode, made_up
from toolorchestra.worlds.statistics import Drawing

DRAWING = Drawing(resamples=200)


def test_an_oracle_scores_exactly_one_and_doing_nothing_exactly_zero():
    episodes = made_up({"oracle": Habit(1, 0.01), "nothing": Habit(0, 0.0)})
    for policy, score in (("oracle", 1.0), ("nothing", 0.0)):
        found = rates([e for e in episodes if e.policy == policy], DRAWING, name=policy)
        assert found.success.value == score
        assert found.success.clusters == 50
    assert found.cost_per_solved.value is None
    assert found.cost_per_task.value == 0


def test_a_task_that_was_repeated_more_often_weighs_no_more():
    repeats = [an_episode(repeat=n, success=True) for n in range(9)]
    found = rates([*repeats, an_episode(task="t1", cluster="c1", success=False)], DRAWING, name="x")
    assert found.success.value == 0.5
    assert found.success.n == 2


def test_dollars_per_solved_task_are_a_ratio_of_sums():
    episodes = [
        an_episode(task="a", cost_nano_usd=3_000_000_000, success=True),
        an_episode(task="b", cluster="c1", cost_nano_usd=1_000_000_000, success=False),
    ]
    assert rates(episodes, DRAWING, name="x").cost_per_solved.value == 4.0


def test_failures_of_the_environment_do_not_count():
    broken = an_episode(task="t1", success=False, error=ErrorKind.ENVIRONMENT)
    late = an_episode(task="t2", success=False, error=ErrorKind.TIMEOUT)
    assert {episode.task for episode in counted([an_episode(), broken, late])} == {"t0", "t2"}


def test_pairs_are_formed_on_common_tasks_only():
    new = [an_episode(task=f"t{n}", cluster=f"c{n}", success=True, cost_nano_usd=1_000) for n in range(4)]
    old = [an_episode(task=f"t{n}", cluster=f"c{n}", success=n > 1, cost_nano_usd=4_000, policy="old") for n in range(1, 6)]
    found = paired(new, old, DRAWING, name="x")
    assert found.success.n == 3
    assert found.success.value == pytest.approx(1 / 3)
    assert found.cost_ratio.value == pytest.approx(0.25)
    assert found.latency_ratio.value == 1.0


def test_pairing_narrows_the_interval():
    episodes = made_up({"new": Habit(0.6, 0.01), "old": Habit(0.6, 0.01)}, tasks=400)
    new, old = ([e for e in episodes if e.policy == name] for name in ("new", "old"))
    found = paired(new, old, DRAWING, name="x").success
    assert found.low < 0 < found.high


def test_shares_of_tools():
    episodes = [an_episode(calls={"a": 3, "b": 1}), an_episode(task="t1", calls={"a": 3, "c": 1, "d": 0})]
    assert tool_shares(episodes) == {"a": 0.75, "b": 0.125, "c": 0.125}


def test_the_entropy_is_that_of_calls_of_experts_and_functions_of_a_world_do_not_count():
    experts = {"a": Expert(), "b": Expert()}
    spread = [an_episode(calls={"a": 3, "search": 9}, experts=experts), an_episode(task="t1", calls={"b": 1}, experts=experts)]
    assert route_entropy(spread) == pytest.approx(-(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25)))
    assert route_entropy([an_episode(calls={"a": 3, "search": 9, "pay": 2}, experts=experts)]) == 0
    assert route_entropy([an_episode(calls={"search": 2}, experts=experts), an_episode()]) == 0


def test_always_one_expert_is_no_entropy_though_every_cast_has_another():
    first = an_episode(calls={"a": 2}, experts={"a": Expert(strongest=True), "b": Expert()})
    second = an_episode(task="t1", calls={"x": 2}, experts={"x": Expert(strongest=True), "y": Expert()})
    assert route_entropy([first, second]) == 0


def test_bias_counts_calls_of_experts_by_their_flags_in_that_episode():
    """Names are redrawn per episode: what was the strongest in one is somebody else in the next."""
    strongest, other = Expert(strongest=True), Expert()
    episodes = [
        an_episode(task="t0", cluster="a", calls={"x": 3, "search": 9}, experts={"x": strongest, "y": other}),
        an_episode(task="t1", cluster="b", calls={"x": 1}, experts={"x": other, "y": strongest}),
    ]
    found = bias(episodes, DRAWING, name="x")
    assert found.strongest.value == 0.75
    assert bias([an_episode(calls={"search": 1})], DRAWING, name="x").strongest.value is None


@pytest.mark.parametrize(
    ("points", "front"),
    [
        ({"a": (1, 0.5), "b": (2, 0.7), "c": (3, 0.6)}, ("a", "b")),
        ({"a": (1, 0.5), "b": (1, 0.6)}, ("b",)),
        ({"a": (1, 0.5), "b": (1, 0.5), "c": (2, 0.5)}, ("a", "b")),
        ({}, ()),
    ],
)
def test_the_front_holds_those_that_none_beats(points, front):
    assert pareto_front(points) == front
