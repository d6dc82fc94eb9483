from pathlib import Path

import pytest

from infra import tiers
from infra.tiers import Result, Step


def result(name: str, *, passed: bool = True, lacks: str = "") -> Result:
    return Result(Step(name, ("true",)), passed, 1.0, "closing line", lacks)


def test_every_folder_of_tests_is_a_tier_and_what_needs_long_builds_comes_after_them():
    names = [step.name for step in tiers.tiers()]
    assert {"unit", "integration", "controlplane", "charts", "bench"} <= set(names)
    assert names[:4] == ["unit", "worlds", "integration", "cluster"]
    assert names.index("images") < names.index("controlplane")


def test_what_a_machine_lacks_is_named_in_the_summary():
    said = tiers.summary([result("unit"), result("e2e", lacks="root")])
    assert "NOT RUN  e2e" in said
    assert said.endswith("All 1 steps that can run here passed. Not run here: e2e.")


def test_under_continuous_integration_a_step_that_cannot_run_is_a_failure(monkeypatch: pytest.MonkeyPatch):
    step = Step("node", ("true",))
    monkeypatch.setattr(tiers, "lacking", lambda _: "root")
    monkeypatch.setenv("CI", "true")
    assert not tiers.attempt(step).passed
    monkeypatch.delenv("CI")
    assert tiers.attempt(step).passed


def test_what_computes_runs_beside_what_waits_and_benchmarks_come_last(capfd: pytest.CaptureFixture[str]):
    steps = [Step(name, ("echo", f"{name} said")) for name in ("lint", "unit", "bench", "e2e")]
    results = tiers.run_all(steps, 2)
    assert [(result.step.name, result.closing) for result in results] == [
        (name, f"{name} said") for name in ("lint", "unit", "e2e", "bench")
    ]
    printed = capfd.readouterr().out.splitlines()
    assert {"lint said", "e2e said", "unit | unit said"} < set(printed)
    assert printed[-1] == "bench said"


def test_the_two_kinds_run_at_the_same_time(tmp_path: Path):
    def meets(mine: str, other: str) -> Step:
        wait = f"touch {tmp_path / mine}; until [ -e {tmp_path / other} ]; do sleep 0.02; done"
        return Step(mine, ("timeout", "20", "sh", "-c", wait))

    results = tiers.run_all([meets("e2e", "training"), meets("training", "e2e")], 2)
    assert all(result.passed for result in results)


def test_the_second_kind_bears_its_names_and_a_single_processor_does_one_thing_at_a_time():
    steps = [Step(name, ("true",)) for name in ("lint", "unit", "e2e", "training")]
    assert [[step.name for step in lane] for lane in tiers.lanes(steps, 2)] == [["lint", "e2e"], ["unit", "training"]]
    assert tiers.lanes(steps, 1) == [steps, []]


def test_a_failed_step_is_named_at_the_end():
    assert tiers.summary([result("lint", passed=False), result("unit")]).endswith("FAILED: lint")
