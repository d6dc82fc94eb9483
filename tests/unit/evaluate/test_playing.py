"""Episodes in memory: what must come out exactly, what must come out on average, and that it always comes out alike."""

import asyncio
import json
import shutil
from collections import defaultdict
from dataclasses import replace
from math import sqrt
from pathlib import Path

import pytest

from toolorchestra.training.evaluate.episodes import entries_of
from toolorchestra.training.evaluate.errors import InvalidPlanError
from toolorchestra.training.evaluate.evaluating import Evaluation
from toolorchestra.training.evaluate.judging import make_jury
from toolorchestra.training.evaluate.memory import MemoryPlayer
from toolorchestra.training.evaluate.output import JSON_NAME
from toolorchestra.training.evaluate.records import ErrorKind, read_records
from toolorchestra.training.evaluate.staging import stage_plan
from toolorchestra.training.toolscale.building import build_domain, write_domain
from toolorchestra.training.toolscale.domain import domain_names, find_domain
from toolorchestra.worlds.loading import load_tasks
from toolorchestra.worlds.questions import read_questions
from toolorchestra.worlds.simulation.drawing import is_right
from toolorchestra.worlds.simulation.profiles import Cast, draw_cast

WORLDS = {"kind": "worlds", "folders": ["railway"], "count": 6}
QA = {"kind": "qa", "file": "questions.jsonl", "count": 8}


def played(plan, folder, **options):
    """All episodes of a plan, and its report as bytes."""
    asyncio.run(Evaluation(plan, folder, **options).run())
    return read_records(folder / "episodes.jsonl").episodes, (folder / JSON_NAME).read_bytes()


def rates(episodes, **wanted):
    by_policy = defaultdict(list)
    for episode in episodes:
        if all(getattr(episode, name) == value for name, value in wanted.items()):
            by_policy[episode.policy].append(episode.success)
    return {policy: sum(found) / len(found) for policy, found in by_policy.items()}


@pytest.mark.parametrize("domain", domain_names())
def test_on_every_world_golden_is_always_right_and_nothing_never(domain, a_plan, tmp_path):
    write_domain(build_domain(find_domain(domain), seed=2, count=3), tmp_path)
    suite = WORLDS | {"folders": [str(tmp_path / domain)]}
    episodes, _ = played(a_plan(suites=[suite], policies=["golden", "nothing", "oracle"]), tmp_path / "out")
    found = rates(episodes)
    assert (found["golden"], found["nothing"]) == (1.0, 0.0)
    assert all(not episode.error for episode in episodes)


@pytest.mark.parametrize("kind", ["unseen-tools", "unseen-prices", "renamed-tools", "preferences"])
def test_so_they_are_with_other_experts_prices_names_and_wishes(kind, a_plan, tmp_path):
    suites = [WORLDS | {"kind": kind, "count": 3}]
    episodes, _ = played(a_plan(suites=suites, policies=["golden", "nothing", "monolith:*"]), tmp_path)
    found = rates(episodes)
    assert (found.pop("golden"), found.pop("nothing")) == (1.0, 0.0)
    assert max(found.values()) > 0


def test_questions_are_answered_with_real_tools(a_plan, tmp_path):
    episodes, _ = played(a_plan(suites=[QA], policies=["golden", "nothing"]), tmp_path)
    assert rates(episodes) == {"golden": 1.0, "nothing": 0.0}
    called = {name for episode in episodes for name in episode.calls}
    assert called == {"calculator", "local-search", "python"}


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


def test_money_time_and_calls_are_recorded_and_free_rules_are_free(a_plan, tmp_path):
    episodes, _ = played(a_plan(policies=["golden", "strongest", "oracle"]), tmp_path)
    for one in episodes:
        ceiling = one.ceiling
        assert (one.cost_nano_usd == 0) == (one.policy == "golden")
        assert ceiling.cost_nano_usd > 0
        assert one.latency_ms > 0
        assert set(one.calls) <= set(one.offered)
        assert one.simulated
    strongest = [one for one in episodes if one.policy == "strongest" and one.success]
    ratio = sum(one.cost_nano_usd for one in strongest) / sum(one.ceiling.cost_nano_usd for one in strongest)
    assert 0.7 < ratio < 1.4  # what always asking the strongest takes is computed, and about what it took


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


def test_the_experts_of_a_router_are_marked_and_the_strongest_is_asked_by_the_strongest_only(a_plan, tmp_path):
    episodes, _ = played(a_plan(policies=["cheapest", "strongest"]), tmp_path)
    for one in episodes:
        best = [name for name, expert in one.experts.items() if expert.strongest]
        assert len(best) == 1
        assert (best[0] in one.calls) == (one.policy == "strongest")


def test_a_tool_that_fails_by_mistake_is_an_environment_failure(material, a_plan, tmp_path):
    world = tmp_path / "railway"
    shutil.copytree(material / "railway", world)
    broken = (
        "\n\n@tool(side_effects='readOnly')\ndef find_passenger(db: Database, *, email: str) -> dict[str, str]:\n"
        '    """Find a passenger.\n\n    email: Address\n    """\n    raise RuntimeError(\'the table is gone\')\n\n\n'
        "TOOLS = tuple(find_passenger if one.name == 'find_passenger' else one for one in TOOLS)\n"
    )
    imports = "from toolorchestra.worlds.state import Database\nfrom toolorchestra.worlds.tools import tool\n"
    (world / "tools.py").write_text((world / "tools.py").read_text() + "\n" + imports + broken)
    plan = a_plan(suites=[WORLDS | {"folders": [str(world)], "count": 3}], limits={"parallel": 1, "failures": 2})
    with pytest.raises(InvalidPlanError, match="no episode to report on"):
        played(plan, tmp_path / "out")
    recorded = read_records(tmp_path / "out" / "episodes.jsonl")
    assert {one.error for one in recorded.episodes} == {ErrorKind.ENVIRONMENT}
    assert "the table is gone" in recorded.stopped.reason


@pytest.mark.parametrize("fault", ["refusals", "timeouts"])
def test_experts_that_always_fail_are_wrong_and_no_failure_of_the_environment(fault, a_plan):
    staged = stage_plan(a_plan(policies=["cheapest", "strongest", "monolith:*"], suites=[WORLDS | {"count": 2}]))
    faults = {"refusals": 0.0, "truncations": 0.0, "timeouts": 0.0, fault: 1.0}
    failing = {
        name: Cast(cast.seed, cast.split, tuple(replace(one, skills={}, base=-50.0, **faults) for one in cast))
        for name, cast in staged.casts.items()
    }
    staged = replace(staged, casts=failing)
    entries = entries_of(staged)
    player = MemoryPlayer(staged, make_jury(staged), entries, {})
    episodes = asyncio.run(player.play([entry.job for entry in entries]))
    assert len(episodes) == len(entries) > 6
    assert not any(one.success for one in episodes)
    assert {one.error for one in episodes} <= {None, ErrorKind.TIMEOUT}


def test_tau2_is_played_in_a_world_with_the_same_tools(material, a_plan, tmp_path):
    tasks = list(load_tasks(material / "railway"))[:3]
    records = [
        {
            "id": number,
            "user_scenario": {"instructions": {"task_instructions": "", "reason_for_call": task.user.opening}},
            "evaluation_criteria": {
                "actions": [{"name": one.tool, "arguments": one.arguments} for one in task.golden],
                "communicate_info": [fact.value for fact in task.facts if isinstance(fact.value, str)],
            },
        }
        for number, task in enumerate(tasks)
    ]
    (tmp_path / "tasks.json").write_text(json.dumps(records))
    suite = {"kind": "tau2", "file": str(tmp_path / "tasks.json"), "world": "railway", "domain": "railway"}
    episodes, _ = played(a_plan(suites=[suite], policies=["golden", "nothing"]), tmp_path / "out")
    assert rates(episodes) == {"golden": 1.0, "nothing": 0.0}
    assert {one.topic for one in episodes} == {"railway"}
