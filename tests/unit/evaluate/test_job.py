"""The entry point of an Evaluation's Job: where the plan comes from, what is left, and how it ends."""

import json
import shutil

import yaml

from toolorchestra.operator.services.results import is_report, report
from toolorchestra.training.evaluate.job import FAILURE, PARTIAL, TOLD_TO_STOP, USAGE, main
from toolorchestra.training.evaluate.stopping import GOES_ON


def config(material, **fields):
    suite = {"kind": "worlds", "folders": [str(material / "railway")], "count": 3}
    limits = {"parallel": 1}
    return {"suites": [suite], "policies": ["golden", "strongest"], "limits": limits, "report": {"resamples": 100}} | fields


def run(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(content))
    arguments = ["--out", str(tmp_path / "out"), "--summary", str(tmp_path / "termination-log")]
    return main(arguments, environment={"TOOLORCHESTRA_CONFIG": str(path)})


def test_the_configuration_is_played_and_the_summary_is_what_the_operator_reads(material, tmp_path, capsys):
    assert run(tmp_path, config(material)) == 0
    message = (tmp_path / "termination-log").read_text()
    told = report(message)
    metrics, location = told.metrics, told.location
    assert is_report(message)
    assert (metrics["success.golden"], metrics["usdPerTask.golden"], metrics["tasks"]) == ("1.0000", "0.000000", "3")
    assert json.loads((tmp_path / "out" / "report.json").read_text())["policies"][0]["policy"] == "golden"
    assert location == str(tmp_path / "out" / "report.json")
    assert "golden" in capsys.readouterr().out


def test_a_budget_that_runs_out_ends_it_as_partial(material, tmp_path):
    assert run(tmp_path, config(material, limits={"cost_usd": "0.001", "parallel": 1})) == PARTIAL
    metrics = report((tmp_path / "termination-log").read_text()).metrics
    assert metrics["partial"] == "the budget of 0.001 USD is spent"


def test_a_plan_may_be_a_file(material, tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(config(material)))
    assert main([str(path), "--out", str(tmp_path / "out")], environment={}) == 0


def test_what_is_wrong_is_told_with_a_code(material, tmp_path, capsys):
    assert run(tmp_path, config(material, policies=["gold"])) == USAGE
    assert "spec.config: policies" in capsys.readouterr().err.replace("Value error, ", "")
    broken = config(material) | {"suites": [{"kind": "worlds", "folders": ["/nowhere"]}]}
    assert run(tmp_path, broken) == FAILURE
    assert "/nowhere" in capsys.readouterr().err
    assert main([], environment={}) == USAGE


def test_a_long_summary_is_cut_to_what_kubernetes_keeps(material, tmp_path):
    names = [f"monolith:{name}" for name in ("*",)]
    assert run(tmp_path, config(material, policies=["golden", *names], title="x" * 100)) == 0
    assert (tmp_path / "termination-log").stat().st_size <= 4096


def test_ctrl_c_before_anything_is_played_is_told_in_one_sentence(material, tmp_path, capsys):
    world = tmp_path / "railway"
    shutil.copytree(material / "railway", world)
    (world / "tools.py").write_text("raise KeyboardInterrupt\n")  # as if pressed while the world is read
    assert run(tmp_path, config(material, suites=[{"kind": "worlds", "folders": [str(world)]}])) == TOLD_TO_STOP
    assert capsys.readouterr().err == f"{GOES_ON}\n"
