"""``toolorchestra train`` hands everything over to the training environment, or says how to make one."""

import pytest

from toolorchestra.cli.main import run


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """A stand-in for the training environment's Python that writes down what it was given."""
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/given\nexit 3\n')
    python.chmod(0o755)
    monkeypatch.setenv("TOOLORCHESTRA_TRAINING_PYTHON", str(python))
    return tmp_path


@pytest.mark.parametrize(
    "words", [["run.yaml", "--out", "there", "--dry-run"], ["peek", "run.yaml", "7", "-n", "8"], ["--help"]]
)
def test_words_and_exit_code_pass_through(environment, words):
    assert run(["train", *words]) == 3
    assert (environment / "given").read_text().split() == ["-m", "toolorchestra.training.grpo", *words]


def test_without_an_environment_it_says_how_to_make_one(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("TOOLORCHESTRA_TRAINING_PYTHON", str(tmp_path / "nowhere"))
    assert run(["train", "run.yaml"]) == 1
    assert "make train-setup" in capsys.readouterr().err
