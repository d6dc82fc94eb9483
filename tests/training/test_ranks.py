"""Processes that train together do what one does alone: the same episodes, the same metrics, the same weights but for rounding."""

import json
import sys

import pytest
import yaml
from safetensors.torch import load_file

from tests.training.taught import SEED
from toolorchestra.training.grpo.errors import InvalidRunError
from toolorchestra.training.grpo.launching import launch
from toolorchestra.training.grpo.main import main
from toolorchestra.training.grpo.ranks import place
from toolorchestra.training.grpo.settings import read_settings
from toolorchestra.training.grpo.training import Run

STEPS = 3
GROUPS = 8  # in a step, of all processes


@pytest.fixture
def written(tmp_path, taught):
    """Writes a run's file. In each run a step plays the same tasks, some of which the model knows."""

    def write(name, *, processes, micro=None):
        settings = {
            "model": {"path": str(taught)},
            "tasks": {"kind": "routes", "count": GROUPS, "seed": SEED},
            "rollout": {"group_size": 8, "groups_per_step": GROUPS // processes},
            "optimiser": {"steps": STEPS, "micro_batch": micro},
            "checkpoint": {"every": STEPS},
            "processes": processes,
            "gate": None,
        }
        file = tmp_path / f"{name}.yaml"
        file.write_text(yaml.safe_dump(settings))
        return file

    return write


def together(*files):
    """Run these in two processes."""
    assert launch([sys.executable, "-m", "tests.training.runs_together", *map(str, files)], 2, ends=(0,)) == 0


def metrics(file):
    lines = [json.loads(line) for line in (file.with_suffix("") / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if not name.endswith("seconds")} for line in lines]


def weights(file):
    return load_file(file.with_suffix("") / "checkpoints" / f"checkpoint-{STEPS}" / "model.safetensors")


@pytest.mark.timeout(1_800)
def test_two_processes_train_as_one_does(written, taught):
    """Metrics digit for digit, weights but for the order of sums; the same whether a process takes its share at once or not."""
    one, two, split = written("one", processes=1), written("two", processes=2), written("split", processes=2, micro=8)
    Run(read_settings(one), one.with_suffix("")).train()
    together(two, split)
    first, before = weights(one), load_file(taught / "model.safetensors")
    assert all(line["kept_groups"] > 0 for line in metrics(one))
    assert largest_difference(first, before) > 1e-3
    for other in (two, split):
        assert metrics(other) == metrics(one)
        assert largest_difference(weights(other), first) < 5e-6
        assert checksum(weights(other)) == pytest.approx(checksum(first), rel=1e-7)


def largest_difference(some, others):
    return max((some[name] - others[name]).abs().max().item() for name in others)


def checksum(found):
    return sum(one.double().sum().item() for one in found.values())


def test_a_run_for_two_processes_is_not_begun_by_one(written, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    file = written("two", processes=2)
    assert main([str(file), "--out", str(file.with_suffix(""))]) == 2
    assert "processes: the run is written for 2, and 1 were started" in capsys.readouterr().err
    assert not file.with_suffix("").exists()
    with pytest.raises(InvalidRunError, match="written for 1, and 4 were started"):
        place(1, {"RANK": "3", "WORLD_SIZE": "4"})
