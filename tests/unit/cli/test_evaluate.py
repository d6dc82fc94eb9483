"""``toolorchestra evaluate`` in this process: what it prints, what it writes, how it ends."""

import json

import pytest
import yaml

from toolorchestra.cli.main import run
from toolorchestra.training.toolscale.building import build_domain, write_domain
from toolorchestra.training.toolscale.domain import find_domain


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    write_domain(build_domain(find_domain("railway"), seed=5, count=4), folder)
    return folder


def plan(folder, name, **fields):
    suite = {"kind": "worlds", "folders": ["railway"]}
    content = {"suites": [suite], "policies": ["golden", "strongest"], "limits": {"parallel": 1}, "report": {"resamples": 100}}
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content | fields))
    return str(path)


def test_it_prints_tables_and_writes_report_page_and_picture(folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(["evaluate", plan(folder, "a"), "--out", str(out)]) == 0
    told = capsys.readouterr()
    assert "\n  golden " in told.out  # a bound is nobody's rival
    assert "\n* strongest" in told.out
    assert "8 episodes, 0 of them recorded already" in told.err
    assert {path.name for path in out.iterdir()} == {"episodes.jsonl", "report.json", "report.html", "pareto.svg"}
    assert run(["evaluate", plan(folder, "a"), "--out", str(out)]) == 0
    assert "8 episodes, 8 of them recorded already" in capsys.readouterr().err
    assert run(["evaluate", plan(folder, "a"), "--out", str(out), "--fresh", "--json"]) == 0
    told = capsys.readouterr()
    assert "8 episodes, 0 of them recorded already" in told.err
    assert json.loads(told.out)["policies"][0]["policy"] == "golden"


def test_ending_early_has_a_code_of_its_own(folder, tmp_path, capsys):
    path = plan(folder, "b", limits={"parallel": 1, "cost_usd": "0.001"})
    assert run(["evaluate", path, "--out", str(tmp_path)]) == 3
    assert "! Partial: the budget of 0.001 USD is spent" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "give a plan, or --quick"),
        (["none.yaml"], "none.yaml: cannot be read"),
        (["none.yaml", "--quick"], "give a plan, or --quick"),
    ],
)
def test_what_is_wrong_is_one_sentence(arguments, told, capsys):
    assert run(["evaluate", *arguments]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("suite", "told"),
    [
        ({"kind": "hle", "file": "none.jsonl"}, "suite hle: HLE: there is no file"),
        ({"kind": "tau2", "file": "none.json", "world": "railway"}, "suite tau2: τ²-bench: there is no file"),
        ({"kind": "qa", "file": "none.jsonl"}, "suite qa: "),
        ({"kind": "user", "file": "mine.jsonl", "grader": "vibes"}, "suite user: there is no grader 'vibes'"),
        (
            {"kind": "user", "file": "mine.jsonl", "grader": "exact", "config": {"x": 1}},
            "suite user: the grader has no setting",
        ),
    ],
)
def test_what_a_plan_names_in_vain_is_the_same_mistake_whatever_it_is(folder, tmp_path, capsys, suite, told):
    (folder / "mine.jsonl").write_text(json.dumps({"id": 1, "question": "Who?", "answer": "Ada"}))
    path = plan(folder, "vain", suites=[suite], policies=["golden"])
    assert run(["evaluate", path, "--out", str(tmp_path / "out")]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--url", "http://127.0.0.1:9"], "no API key for http://127.0.0.1:9"),
        (["--platform", "--url", "http://127.0.0.1:9"], "no API key for http://127.0.0.1:9"),
        (["--state", "nowhere"], "the platform of nowhere does not run"),
        (["--platform", "--state", "nowhere"], "the platform of nowhere does not run"),
    ],
)
def test_a_platform_that_is_named_is_the_one_that_is_asked(folder, tmp_path, capsys, monkeypatch, arguments, told):
    monkeypatch.delenv("TOOLORCHESTRA_API_KEY", raising=False)
    assert run(["evaluate", plan(folder, "named"), "--out", str(tmp_path / "out"), *arguments]) == 1
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("TOOLORCHESTRA_URL", "http://127.0.0.1:9", "no API key for http://127.0.0.1:9"),
        ("TOOLORCHESTRA_STATE", "nowhere", "the platform of nowhere does not run"),
    ],
)
def test_what_the_environment_names_is_for_those_who_ask_for_a_platform(
    folder, tmp_path, capsys, monkeypatch, variable, value, told
):
    monkeypatch.delenv("TOOLORCHESTRA_API_KEY", raising=False)
    monkeypatch.setenv(variable, value)
    path = plan(folder, "shell", policies=["golden"])
    assert run(["evaluate", path, "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    assert run(["evaluate", path, "--out", str(tmp_path), "--platform"]) == 1
    assert told in capsys.readouterr().err
