"""The Job of a ToolScaleDataset: what it reads, what it leaves on the volume and in the status."""

import json

import pytest

from toolorchestra.operator.services.results import is_report, report
from toolorchestra.training.toolscale.endpoint import Endpoint
from toolorchestra.training.toolscale.errors import InvalidBuildError
from toolorchestra.training.toolscale.job import CONFIG, JobConfig, main, shortened
from toolorchestra.training.toolscale.worldset import read_set


@pytest.fixture
def configured(tmp_path, monkeypatch):
    def write(text):
        path = tmp_path / "config.json"
        path.write_text(text)
        monkeypatch.setenv(CONFIG, str(path))
        return path

    return write


def test_it_builds_onto_the_volume_and_the_operator_reads_its_summary(library, configured, tmp_path):
    configured(json.dumps({"domains": ["library"], "tasks": 8, "seed": 2, "out": "sets/first"}))
    message = tmp_path / "termination-log"
    assert main(tmp_path / "data", message) == 0
    assert is_report(message.read_text())
    told = report(message.read_text())
    metrics = told.metrics
    assert told.location == str(tmp_path / "data/sets/first")
    assert (metrics["tasks"], metrics["tasks.library"], metrics["worlds"]) == ("8", "8", "1")
    assert int(metrics["attempts"]) >= 8
    assert {value for name, value in metrics.items() if name.startswith("unsound.")} == {"0"}
    assert any(name.startswith("dropped.") for name in metrics)
    assert len(read_set(tmp_path / "data/sets/first").all_tasks) == 8
    assert (tmp_path / "data/sets/first/report.md").exists()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "Invalid JSON"),
        ('{"tasks": 0}', "tasks"),
        ('{"domain": ["railway"]}', "domain"),
        ('{"out": "../elsewhere"}', r"out"),
        ('{"llm": {"url": "ftp://x", "model": "m"}}', r"llm\.url"),
    ],
)
def test_a_wrong_configuration_is_named_and_fails_the_job(configured, tmp_path, capsys, text, named):
    path = configured(text)
    with pytest.raises(InvalidBuildError, match=named):
        JobConfig.read(path).request(tmp_path)
    assert main(tmp_path, tmp_path / "message") == 1
    assert capsys.readouterr().err.startswith("error: spec.config")
    assert not (tmp_path / "message").exists()


def test_no_configuration_file_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(CONFIG, str(tmp_path / "none.json"))
    assert main(tmp_path, tmp_path / "message") == 1
    assert "none.json cannot be read" in capsys.readouterr().err


def test_a_wording_model_is_taken_from_the_configuration(tmp_path):
    config = JobConfig.model_validate({"llm": {"url": "http://model.example/v1", "model": "words"}})
    assert config.request(tmp_path).endpoint == Endpoint("http://model.example/v1", "words")


def test_a_summary_that_is_too_long_loses_its_last_metrics():
    metrics = {f"dropped.{number} {'x' * 90}": number for number in range(80)}
    text = shortened({"location": "/data/w", "metrics": {"tasks": 5, **metrics}})
    assert len(text) <= 4096
    found = json.loads(text)
    assert found["location"] == "/data/w"
    assert list(found["metrics"])[:2] == ["tasks", f"dropped.0 {'x' * 90}"]
