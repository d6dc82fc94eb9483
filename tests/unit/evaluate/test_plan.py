"""Plans: what may stand in one, and how it is said what is wrong."""

import re
from pathlib import Path

import pytest

from toolorchestra.training.evaluate.errors import InvalidPlanError
from toolorchestra.training.evaluate.plan import parse_plan, read_plan

SUITE = {"kind": "worlds", "folders": ["a"]}


def plan(tmp_path, **fields):
    return parse_plan({"suites": [SUITE], "policies": ["golden"]} | fields, source="plan.yaml", base=tmp_path)


def test_the_plan_of_the_benchmarks_is_one():
    found = read_plan(Path(__file__).parents[2] / "bench" / "baselines.yaml")
    assert {"golden", "nothing", "random", "cascade", "lexical", "embedding", "oracle"} < set(found.policies)


def test_a_plan_needs_suites_and_policies_and_nothing_else(tmp_path):
    found = plan(tmp_path)
    assert found.suites[0].folders == (str(tmp_path / "a"),)
    assert (found.repeats, found.limits.parallel, found.cast.split) == (1, 2, "train")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"policies": ["gold"]}, "there is no 'gold'; write one of golden"),
        ({"policies": ["monolith:"]}, "there is no 'monolith:'"),
        ({"policies": ["golden", "golden"]}, "'golden' stands twice"),
        ({"policies": []}, "policies"),
        ({"suites": []}, "suites"),
        ({"suites": [SUITE, SUITE]}, "'worlds' stands twice; give one of them another name"),
        ({"suites": [{"kind": "world", "folders": ["a"]}]}, "suites.0"),
        ({"suites": [{"kind": "user", "file": "a.jsonl"}]}, "grader: questions of your own need one"),
        ({"suites": [{"kind": "hle", "file": "a.jsonl", "split": "test"}]}, "split: questions of hle have no tags"),
        ({"cast": {"offered": False}, "policies": ["golden", "cheapest"]}, "'cheapest' needs simulated experts"),
        ({"limits": {"cost_usd": "5 dollars"}}, "limits.cost_usd"),
        ({"limits": {"parallel": 0}}, "limits.parallel"),
        ({"report": {"gate": {}}}, "report.gate: it needs report.policy and report.baseline"),
        ({"report": {"policy": "lexcal"}}, "report.policy: no policy is 'lexcal'; write one of golden"),
        ({"report": {"baseline": "monolith:x"}}, "report.baseline: no policy is 'monolith:x'"),
        ({"report": {"untrained": "monolith:*"}, "policies": ["monolith:*"]}, "report.untrained: no policy is 'monolith:*'"),
        ({"report": {"policy": "golden", "baseline": "golden"}}, "report.baseline: it is report.policy itself"),
        ({"report": {"run_link": "javascript:{run_id}"}}, "report.run_link: write an address that begins with one of https://"),
        ({"report": {"run_link": "https://x/{runid}"}}, "report.run_link: write an address that begins with one of https://"),
        ({"colour": "red"}, "colour: unknown field; check its spelling"),
        ({"title": None}, "title: must be text"),
        ({"seed": 1.5}, "seed: must be a whole number"),
        ({"judge": {"model": "m"}}, "judge.base_url: required; add it"),
    ],
)
def test_what_is_wrong_is_named_with_the_file_and_the_field(tmp_path, fields, told):
    with pytest.raises(InvalidPlanError) as caught:
        plan(tmp_path, **fields)
    assert caught.value.message.startswith("plan.yaml: ")
    assert told in caught.value.message
    assert not re.search("Value error|Input should|Extra inputs|Field required|Tuple", caught.value.message)
    assert caught.value.param.partition(".")[0] in caught.value.message


def test_what_only_follows_from_a_problem_is_not_told_and_several_are(tmp_path):
    with pytest.raises(InvalidPlanError) as caught:
        plan(tmp_path, suites=[SUITE | {"splitt": "test"}])
    assert "suites: " not in caught.value.message
    with pytest.raises(InvalidPlanError) as caught:
        plan(tmp_path, policies=["gold", "golden"], report={"policy": "silver"})
    assert "'gold'" in caught.value.message
    assert "'silver'" in caught.value.message
    assert caught.value.param == "policies"


def test_who_is_compared_may_be_one_of_all_experts(tmp_path):
    report = {"policy": "monolith:x", "baseline": "golden", "run_link": "./{run_id}"}
    assert plan(tmp_path, policies=["golden", "monolith:*"], report=report).report.policy == "monolith:x"


def test_a_file_that_is_not_there_or_no_yaml_is_named(tmp_path):
    with pytest.raises(InvalidPlanError, match="cannot be read"):
        read_plan(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("suites: [")
    with pytest.raises(InvalidPlanError, match="not valid YAML"):
        read_plan(tmp_path / "bad.yaml")


def test_what_the_report_shows_follows_from_the_plan(tmp_path):
    report = {"policy": "lexical", "baseline": "strongest", "gate": {"min_tasks": 50}, "resamples": 500}
    shown = plan(tmp_path, policies=["lexical", "strongest"], report=report, seed=9).reported()
    assert (shown.policy, shown.baseline, shown.gate.min_tasks) == ("lexical", "strongest", 50)
    assert (shown.drawing.seed, shown.drawing.resamples) == (9, 500)
    assert shown.settings["cast"] == "seed 0, train profiles"


def test_only_policies_of_a_platform_need_one(tmp_path):
    assert not plan(tmp_path, policies=["golden", "monolith:*"]).needs_platform
    assert plan(tmp_path, policies=["golden", "orchestrator:toolorchestra"]).needs_platform
