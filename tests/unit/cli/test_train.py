"""``toolorchestra train`` hands everything over to the training environment, or says how to make one."""

import os
import subprocess
import sys

import pytest

from toolorchestra.cli.main import run


@pytest.fixture
def environment(tmp_path):
    """A stand-in for the training environment's Python that writes down what it was given, and who it is."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/given\necho $$ > {tmp_path}/process\nexit 3\n')
    python.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    "words", [["run.yaml", "--out", "there", "--dry-run"], ["peek", "run.yaml", "7", "-n", "8"], ["--help"]]
)
def test_the_job_takes_the_commands_place_with_its_words(environment, words):
    """So what stops the command, a signal or a supervisor, stops the training, and the exit code is the job's own."""
    variables = {**os.environ, "TOOLORCHESTRA_TRAINING_PYTHON": str(environment / "python")}
    with subprocess.Popen([sys.executable, "-m", "toolorchestra.cli", "train", *words], env=variables) as command:
        assert command.wait() == 3
    assert (environment / "given").read_text().split() == ["-m", "toolorchestra.training.grpo", *words]
    assert int((environment / "process").read_text()) == command.pid


def test_without_an_environment_it_says_how_to_make_one(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("TOOLORCHESTRA_TRAINING_PYTHON", str(tmp_path / "nowhere"))
    assert run(["train", "run.yaml"]) == 1
    assert "make train-setup" in capsys.readouterr().err
