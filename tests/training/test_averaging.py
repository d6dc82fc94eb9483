"""The average of weights: exponential, in float32, kept beside checkpoints."""

import pytest
import torch
from torch import nn

from toolorchestra.training.grpo.averaging import Average, forget_averages


def moved(model, average, *values):
    for value in values:
        nn.init.constant_(model.weight, value)
        average.add()


def test_each_step_counts_less_the_longer_ago_it_was():
    model = nn.Linear(2, 1, bias=False)
    nn.init.constant_(model.weight, 8.0)
    average = Average(model, 0.75)
    moved(model, average, 4.0, 0.0)
    average.give()
    assert model.weight.tolist() == [[5.25, 5.25]]  # ((8 * 3 + 4) / 4 * 3 + 0) / 4


def test_small_moves_of_coarse_weights_are_not_lost():
    model = nn.Linear(1, 1, bias=False, dtype=torch.bfloat16)
    nn.init.constant_(model.weight, 1.0)
    average = Average(model, 0.99)
    moved(model, average, *[2.0] * 200)
    average.give()
    assert model.weight.item() == pytest.approx(2 - 0.99**200, rel=0.01)


def test_what_is_not_trained_stays_and_without_an_average_the_newest_weights_do():
    model = nn.Linear(1, 1)
    model.bias.requires_grad_(False)
    nn.init.constant_(model.weight, 1.0)
    nn.init.constant_(model.bias, 1.0)
    average = Average(model, 0.5)
    nn.init.constant_(model.bias, 3.0)
    average.give()
    assert (model.weight.item(), model.bias.item()) == (1.0, 3.0)
    none = Average(model, 0.0)
    moved(model, none, 7.0)
    none.give()
    assert model.weight.item() == 7.0


def test_it_goes_on_from_what_was_saved_and_drops_what_has_no_checkpoint(tmp_path):
    model = nn.Linear(2, 1, bias=False)
    average = Average(model, 0.5)
    moved(model, average, 4.0)
    average.save(tmp_path, 3)
    average.save(tmp_path, 4)
    (tmp_path / "checkpoint-4").mkdir()
    forget_averages(tmp_path)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["average-4.safetensors", "checkpoint-4"]
    other = nn.Linear(2, 1, bias=False)
    resumed = Average(other, 0.5)
    resumed.load(tmp_path, 4)
    moved(model, average, 1.0)
    moved(other, resumed, 1.0)
    average.give()
    resumed.give()
    assert torch.equal(model.weight, other.weight)
