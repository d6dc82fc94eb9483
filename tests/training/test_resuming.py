"""A run that is killed goes on from its newest checkpoint as if nothing had happened, digit for digit."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from tests.training.taught import SEED, TASKS

STEPS = 8


@pytest.fixture
def run(tmp_path, taught):
    """Writes the run's file; starts it into a folder."""
    settings = {
        "model": {"path": str(taught)},
        "tasks": {"kind": "routes", "count": TASKS, "seed": SEED},
        "rollout": {"group_size": 4, "groups_per_step": 2},
        "optimiser": {"steps": STEPS},
        "checkpoint": {"every": 2},
        "gate": None,
    }
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(settings))

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


def test_a_run_that_is_told_to_stop_saves_and_says_so(tmp_path, run):
    process = run("stopped")
    wait_for_step(tmp_path / "stopped", 3, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 75, process.stdout.read().decode()
    done = len(metrics(tmp_path / "stopped"))
    assert (tmp_path / "stopped" / "checkpoints" / f"checkpoint-{done}").exists()
    assert not (tmp_path / "stopped" / "model").exists()
