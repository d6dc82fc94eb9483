"""Many episodes in memory: golden is right on every world, averages are as drawn, and all comes out alike again."""

from collections import defaultdict
from math import sqrt
from pathlib import Path

import pytest

from tests.support.episodes import QA, WORLDS, played, rates
from toolorchestra.training.toolscale.building import write_domain
from toolorchestra.training.toolscale.domain import domain_names
from toolorchestra.worlds.questions import read_questions
from toolorchestra.worlds.simulation.drawing import is_right
from toolorchestra.worlds.simulation.profiles import draw_cast


@pytest.mark.parametrize("domain", domain_names())
def test_on_every_world_golden_is_always_right_and_nothing_never(domain, built_domain, a_plan, tmp_path):
    write_domain(built_domain(domain), tmp_path)
    suite = WORLDS | {"folders": [str(tmp_path / domain)]}
    episodes, _ = played(a_plan(suites=[suite], policies=["golden", "nothing", "oracle"]), tmp_path / "out")
    found = rates(episodes)
    assert (found["golden"], found["nothing"]) == (1.0, 0.0)
    assert all(not episode.error for episode in episodes)


def test_an_expert_that_is_asked_is_as_right_as_one_that_manages(a_plan, tmp_path):
    plan = a_plan(suites=[WORLDS | {"count": 12}], policies=["strongest", "cheapest", "monolith:*"])
    cast = draw_cast(3)
    episodes, _ = played(plan, tmp_path)
    success = {(one.task, one.policy): one.success for one in episodes}
    for task in {one.task for one in episodes}:
        assert success[task, "strongest"] == success[task, f"monolith:{cast.strongest.name}"], task
        assert success[task, "cheapest"] == success[task, f"monolith:{cast.cheapest.name}"], task


def test_random_is_within_three_sigma_of_what_its_experts_reach(a_plan, tmp_path):
    plan = a_plan(suites=[WORLDS | {"count": 24}], policies=["random", "monolith:*"])
    episodes, _ = played(plan, tmp_path)
    chances = defaultdict(list)
    for episode in episodes:
        if episode.policy.startswith("monolith:"):
            chances[episode.task].append(episode.success)
    assert_near(episodes, [sum(found) / len(found) for found in chances.values()])


def test_so_it_is_on_questions_by_what_the_simulation_drew(a_plan, tmp_path):
    plan = a_plan(suites=[QA | {"count": 40}], policies=["random"])
    episodes, _ = played(plan, tmp_path)
    cast, asked = draw_cast(3), {one.task for one in episodes}
    tasks = [task for task in read_questions(Path(plan.suites[0].file)) if task.id in asked]
    assert_near(episodes, [sum(is_right(3, task, one) for one in cast) / len(cast.names) for task in tasks])


def assert_near(episodes, means):
    """That the successes of ``random`` are within 3σ of the sum of these chances."""
    reached = sum(episode.success for episode in episodes if episode.policy == "random")
    sigma = sqrt(sum(mean * (1 - mean) for mean in means))
    assert 0 < sum(means) < len(means)
    assert abs(reached - sum(means)) < 3 * sigma


def test_a_seeded_rerun_gives_the_same_bytes_and_another_seed_others(a_plan, tmp_path):
    fields = {"suites": [WORLDS, QA | {"count": 4}], "policies": ["golden", "random", "lexical", "monolith:*"]}
    _, first = played(a_plan(**fields), tmp_path / "a")
    _, again = played(a_plan(**fields), tmp_path / "b")
    _, other = played(a_plan(**fields, cast={"seed": 4}), tmp_path / "c")
    assert first == again
    assert first != other


def test_several_processes_give_the_same_report_as_one(a_plan, tmp_path):
    fields = {"policies": ["golden", "random", "lexical", "monolith:*"], "suites": [WORLDS | {"count": 12}]}
    one, first = played(a_plan(**fields), tmp_path / "a")
    two, second = played(a_plan(**fields, limits={"parallel": 2}), tmp_path / "b")
    assert len(one) > 60  # fewer are not spread
    assert sorted(one, key=lambda episode: episode.key) == sorted(two, key=lambda episode: episode.key)
    assert first == second


def test_repeats_draw_experts_anew(a_plan, tmp_path):
    episodes, _ = played(a_plan(policies=["monolith:*"], repeats=3), tmp_path)
    by_task = defaultdict(set)
    for one in episodes:
        by_task[one.task, one.policy].add(one.success)
    assert {one.repeat for one in episodes} == {0, 1, 2}
    assert any(len(found) > 1 for found in by_task.values())


def test_opposite_wishes_move_the_cascade_on_the_same_tasks(a_plan, tmp_path):
    suites = [WORLDS | {"kind": "preferences", "count": 6}]
    episodes, _ = played(a_plan(suites=suites, policies=["cascade"]), tmp_path)
    spent = defaultdict(int)
    for one in episodes:
        spent[one.preference.cost] += one.cost_nano_usd
    assert len(episodes) == 18
    assert spent[0.8] < spent[0.0] / 2
