"""Episodes in memory: what must come out exactly, and what is recorded of them."""

import asyncio
import json
import shutil
from collections import defaultdict
from dataclasses import replace

import pytest

from tests.support.episodes import QA, WORLDS, played, rates
from toolorchestra.training.evaluate.episodes import entries_of
from toolorchestra.training.evaluate.judging import make_jury
from toolorchestra.training.evaluate.memory import MemoryPlayer
from toolorchestra.training.evaluate.records import ErrorKind, read_records
from toolorchestra.training.evaluate.staging import stage_plan
from toolorchestra.worlds.loading import load_tasks
from toolorchestra.worlds.simulation.profiles import Cast


@pytest.mark.parametrize("kind", ["unseen-tools", "unseen-prices", "renamed-tools", "preferences"])
def test_golden_is_right_and_nothing_wrong_with_other_experts_prices_names_and_wishes(kind, a_plan, tmp_path):
    suites = [WORLDS | {"kind": kind, "count": 3}]
    episodes, _ = played(a_plan(suites=suites, policies=["golden", "nothing", "monolith:*"]), tmp_path)
    found = rates(episodes)
    assert (found.pop("golden"), found.pop("nothing")) == (1.0, 0.0)
    assert max(found.values()) > 0


def test_at_other_prices_the_same_experts_succeed_on_the_same_tasks(a_plan, tmp_path):
    suites = [WORLDS | {"count": 12}, WORLDS | {"kind": "unseen-prices", "count": 12}]
    episodes, _ = played(a_plan(suites=suites, policies=["strongest", "monolith:*"]), tmp_path)
    found = defaultdict(set)
    for one in episodes:
        found[one.suite, one.policy.removesuffix("-alt")].add((one.task, one.success, one.latency_ms))
    policies = {policy for _, policy in found}
    assert len(policies) > 2
    assert all(found["worlds", policy] == found["unseen-prices", policy] for policy in policies)


def test_questions_are_answered_with_real_tools(a_plan, tmp_path):
    episodes, _ = played(a_plan(suites=[QA], policies=["golden", "nothing"]), tmp_path)
    assert rates(episodes) == {"golden": 1.0, "nothing": 0.0}
    called = {name for episode in episodes for name in episode.calls}
    assert called == {"calculator", "local-search", "python"}


def test_money_time_and_calls_are_recorded_and_free_rules_are_free(a_plan, tmp_path):
    episodes, _ = played(a_plan(policies=["golden", "strongest", "oracle"]), tmp_path)
    for one in episodes:
        ceiling = one.ceiling
        assert (one.cost_nano_usd == 0) == (one.policy == "golden")
        assert ceiling.cost_nano_usd > 0
        assert one.latency_ms > 0
        assert set(one.calls) <= set(one.offered)
        assert (one.output_tokens == 0) == (one.policy == "golden")
        assert one.simulated
    strongest = [one for one in episodes if one.policy == "strongest" and one.success]
    ratio = sum(one.cost_nano_usd for one in strongest) / sum(one.ceiling.cost_nano_usd for one in strongest)
    assert 0.7 < ratio < 1.4  # what always asking the strongest takes is computed, and about what it took


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
    _, report = played(plan, tmp_path / "out")
    assert b"the table is gone" in report
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
