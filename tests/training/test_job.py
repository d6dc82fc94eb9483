"""What a TrainingRun's Job finds and leaves: its configuration, its folder on the claim, its reports and its exit codes."""

import json
from pathlib import Path

import pytest

from toolorchestra.training.grpo import job
from toolorchestra.training.grpo.errors import InvalidRunError
from toolorchestra.training.grpo.main import main
from toolorchestra.training.grpo.training import Trained


class Score:
    """What a gate measured."""

    def document(self):
        return {"tasks": 400, "solved": 0.98, "cost_over_oracle": 1.05, "routes": {"calculator": 100}}


SCORE = Score()


def trained(**changes):
    done = {"before": SCORE, "after": SCORE, "reasons": (), "seconds": 183.2, "steps": 200, "stopped": None, "model": None}
    return Trained(**{**done, **changes})


def statuses(trained):
    return {kind: (told["status"], told["reason"]) for kind, told in job.summary(trained)["conditions"].items()}


def test_a_run_that_published_tells_every_step_and_where(tmp_path):
    message = tmp_path / "termination-log"
    job.leave(trained(model=Path("/data/training/tiny/model")), message)
    said = json.loads(message.read_text())
    assert said["location"] == "/data/training/tiny/model"
    steps = ("Trained", "GatePassed", "Published")
    assert {kind: told["status"] for kind, told in said["conditions"].items()} == dict.fromkeys(steps, "True")
    shown = {"step": "200", "seconds": "183.2", "solved.after": "0.98", "cost_over_oracle.before": "1.05"}
    assert said["metrics"].items() >= shown.items()
    assert "routes.after" not in said["metrics"]
    assert message.stat().st_size <= 4_096


def test_why_nothing_was_published_is_told():
    refused = statuses(trained(reasons=("it solved 31.2% of 400 unseen tasks", "it cost 2.00 times what the oracle does")))
    assert refused == {
        "Trained": ("True", "Trained"),
        "GatePassed": ("False", "GateNotPassed"),
        "Published": ("False", "GateNotPassed"),
    }
    assert statuses(trained(after=None, reasons=("there is no gate to pass",)))["GatePassed"] == ("False", "NoGate")
    assert statuses(trained(after=None, stopped="it was told to stop")) == {"Trained": ("False", "Stopped")}
    long = job.summary(trained(reasons=("x" * 9_999,)))
    assert len(json.dumps(long)) <= 4_096


def test_a_run_without_a_place_to_keep_things_is_refused(tmp_path):
    assert job.folder_on_the_claim({"TOOLORCHESTRA_NAME": "tiny"}, tmp_path) == tmp_path / "training" / "tiny"
    with pytest.raises(InvalidRunError, match=r"set spec\.claim"):
        job.folder_on_the_claim({}, tmp_path / "missing")


def test_outside_of_a_job_a_file_must_be_named():
    with pytest.raises(InvalidRunError, match=r"name a RUN\.yaml"):
        job.configured({})


def test_a_wrong_configuration_ends_with_its_own_exit_code(tmp_path, monkeypatch, capsys):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"model": {"path": str(tmp_path)}, "tasks": {"kind": "roads"}}))
    monkeypatch.setenv(job.CONFIG, str(config))
    assert main([]) == 2
    assert "config.json: tasks" in capsys.readouterr().err
