"""A run that is killed goes on from its newest checkpoint as if nothing had happened, digit for digit."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml

from tests.training.taught import SEED, TASKS
from toolorchestra.training.grpo import training
from toolorchestra.training.grpo.errors import InvalidRunError
from toolorchestra.training.grpo.resuming import forget_after, newest_checkpoint, seconds_at, set_aside
from toolorchestra.training.grpo.settings import TrainingSettings
from toolorchestra.training.grpo.training import Run

STEPS = 8


def settings_of(model, **optimiser):
    return TrainingSettings.model_validate(
        {
            "model": {"path": str(model)},
            "tasks": {"kind": "routes", "count": TASKS, "seed": SEED},
            "rollout": {"group_size": 4, "groups_per_step": 2},
            "optimiser": {"averaged": 0.5, **optimiser},
            "checkpoint": {"every": 2},
            "gate": None,
        }
    )


@pytest.fixture
def run(tmp_path, taught):
    """Writes the run's file; starts it into a folder."""
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(settings_of(taught, steps=STEPS).model_dump(mode="json")))

    started = []

    def start(folder):
        command = [sys.executable, "-m", "toolorchestra.training.grpo", str(file), "--out", str(tmp_path / folder)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def written(folder):
    """The lines of a run's metrics as they stand there."""
    return (folder / "metrics.jsonl").read_text().splitlines()


def metrics(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if not name.endswith("seconds")} for line in lines]


def weights(folder):
    return (folder / "checkpoints" / f"checkpoint-{STEPS}" / "model.safetensors").read_bytes()


def average(folder):
    return (folder / "checkpoints" / f"average-{STEPS}.safetensors").read_bytes()


def wait_for_step(folder, step, process):
    for _ in range(1_200):
        if (folder / "metrics.jsonl").exists() and len((folder / "metrics.jsonl").read_text().splitlines()) >= step:
            return
        assert process.poll() is None, process.stdout.read().decode()
        time.sleep(0.1)
    pytest.fail(f"step {step} was not reached")


def test_a_killed_run_goes_on_digit_for_digit(tmp_path, run):
    whole = run("whole")
    assert whole.wait() == 3, whole.stdout.read().decode()  # without a gate nothing is published
    killed = run("killed")
    wait_for_step(tmp_path / "killed", 5, killed)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    before = written(tmp_path / "killed")[:4]  # up to the newest checkpoint
    resumed = run("killed")
    assert resumed.wait() == 3, resumed.stdout.read().decode()
    assert written(tmp_path / "killed")[:4] == before  # with their times: they were not taken again
    assert metrics(tmp_path / "killed") == metrics(tmp_path / "whole")
    assert len({line["reward"] for line in metrics(tmp_path / "whole")}) > 1
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    assert average(tmp_path / "killed") == average(tmp_path / "whole")
    assert len(list((tmp_path / "killed" / "checkpoints").glob("average-*"))) == 2  # as many as checkpoints
    assert [line["step"] for line in metrics(tmp_path / "whole")] == list(range(1, STEPS + 1))
    report = json.loads((tmp_path / "killed" / "report.json").read_text())
    assert not report["passed"]
    assert report["reasons"] == ["there is no gate to pass"]
    assert "there is no gate to pass" in (tmp_path / "killed" / "report.html").read_text()
    assert not (tmp_path / "killed" / "model").exists()


def test_a_run_whose_end_was_interrupted_trains_no_further(tmp_path, run):
    whole = run("whole")
    assert whole.wait() == 3, whole.stdout.read().decode()
    report, lines, before = tmp_path / "whole" / "report.json", written(tmp_path / "whole"), weights(tmp_path / "whole")
    first = json.loads(report.read_text())
    report.unlink()
    again = run("whole")
    assert again.wait() == 3, again.stdout.read().decode()
    assert written(tmp_path / "whole") == lines
    assert weights(tmp_path / "whole") == before
    assert not (tmp_path / "whole" / "checkpoints" / f"checkpoint-{STEPS + 1}").exists()
    second = json.loads(report.read_text())
    assert (second["steps"], second["reasons"]) == (first["steps"], first["reasons"])
    assert second["seconds"] == pytest.approx(json.loads(lines[-1])["seconds"], abs=0.1)


def test_a_run_whose_time_is_over_saves_its_last_step_and_goes_on_with_what_is_left(tmp_path, taught):
    settings = settings_of(taught, steps=1_000, minutes=0.02)
    first = Run(settings, tmp_path).train()
    assert first.steps < 1_000
    assert newest_checkpoint(tmp_path).name == f"checkpoint-{first.steps}"
    lines = written(tmp_path)
    again = Run(settings, tmp_path).train()
    assert (again.steps, written(tmp_path)) == (first.steps, lines)
    longer = Run(settings_of(taught, steps=first.steps + 1, minutes=None), tmp_path).train()
    assert longer.steps == first.steps + 1
    assert longer.seconds > first.seconds
    assert written(tmp_path)[:-1] == lines


def test_what_was_cut_when_a_run_was_killed_is_not_gone_on_from(tmp_path):
    for step, state in ((2, "{}"), (4, ""), (6, '{"global_st')):
        folder = tmp_path / "checkpoints" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "trainer_state.json").write_text(state)
    shutil.copytree(tmp_path / "checkpoints" / "checkpoint-2", tmp_path / "checkpoints" / "checkpoint-2-copy")
    assert newest_checkpoint(tmp_path).name == "checkpoint-2"
    lines = tmp_path / "metrics.jsonl"
    lines.write_text('{"step": 1, "seconds": 1.5}\n{"step": 2, "seconds": 3.0}\n{"step": 3, "sec')
    assert seconds_at(lines, 2) == 3.0
    forget_after(lines, 2)
    assert [json.loads(line)["step"] for line in written(tmp_path)] == [1, 2]


def test_what_an_earlier_gate_let_pass_is_set_aside(tmp_path):
    for round_ in ("first", "second"):
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "weights").write_text(round_)
        set_aside(tmp_path / "model")
        assert not (tmp_path / "model").exists()
        assert (tmp_path / "model.older" / "weights").read_text() == round_


def test_a_run_that_is_told_to_stop_saves_and_says_so(tmp_path, run):
    process = run("stopped")
    wait_for_step(tmp_path / "stopped", 3, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 75, process.stdout.read().decode()
    done = len(metrics(tmp_path / "stopped"))
    assert (tmp_path / "stopped" / "checkpoints" / f"checkpoint-{done}").exists()
    assert not (tmp_path / "stopped" / "model").exists()


def test_processes_that_see_different_folders_do_not_go_on(tmp_path, taught, monkeypatch):
    monkeypatch.setattr(training, "gathered", lambda step: [step, step + 2])
    with pytest.raises(InvalidRunError, match=r"checkpoints of different steps, \[0, 2\]"):
        Run(settings_of(taught, steps=2), tmp_path).train()
