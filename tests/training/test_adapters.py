"""Training an adapter: the model's own weights stay, the adapter moves, goes on from a checkpoint, and is published merged."""

import json

import pytest
import torch
from peft import get_peft_model_state_dict
from safetensors.torch import load_file

from tests.training.taught import SEED, TASKS
from toolorchestra.training.grpo.assembly import grouping_of
from toolorchestra.training.grpo.checkpoints import MANIFEST, adapted, load, publish
from toolorchestra.training.grpo.settings import LoraSettings, ModelSettings, TrainingSettings
from toolorchestra.training.grpo.training import Run


@pytest.fixture
def settings(taught):
    """A run of so many steps."""

    def make(steps):
        return TrainingSettings.model_validate(
            {
                "model": {"path": str(taught), "lora": {"rank": 8, "alpha": 16}},
                "tasks": {"kind": "routes", "count": TASKS, "seed": SEED},
                "rollout": {"group_size": 4, "groups_per_step": 2},
                "optimiser": {"steps": steps, "warmup_steps": 0},
                "checkpoint": {"every": 2},
                "gate": None,
            }
        )

    return make


def adapter_of(folder, step):
    return load_file(folder / "checkpoints" / f"checkpoint-{step}" / "adapter_model.safetensors")


def test_an_adapter_learns_and_goes_on_digit_for_digit(settings, tmp_path):
    Run(settings(4), tmp_path / "whole").train()
    Run(settings(2), tmp_path / "parts").train()
    Run(settings(4), tmp_path / "parts").train()
    whole, parts = adapter_of(tmp_path / "whole", 4), adapter_of(tmp_path / "parts", 4)
    assert all("lora" in name for name in whole)
    assert any(weight.any() for name, weight in whole.items() if "lora_B" in name), "it begins with zeros"
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_an_adapter_whose_end_was_interrupted_is_the_newest_one_again(settings, tmp_path):
    Run(settings(2), tmp_path).train()
    loaded = load(settings(2).model)
    assert Run(settings(2), tmp_path)._steps(loaded, grouping_of(settings(2), loaded))[0] == 2
    found = get_peft_model_state_dict(loaded.model)
    assert found.keys() == adapter_of(tmp_path, 2).keys()
    assert all(torch.equal(one, found[name]) for name, one in adapter_of(tmp_path, 2).items())


def test_what_is_published_needs_no_adapter(taught, codec, tmp_path):
    loaded = load(ModelSettings(path=str(taught), lora=LoraSettings(rank=4)))
    ids = torch.tensor([codec.encode("What is the")])
    with torch.no_grad():
        before = loaded.model(ids).logits
        for name, weight in loaded.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.05)
        after = loaded.model(ids).logits
        model = publish(loaded.model, codec.tokenizer, tmp_path / "model", {})
        again = load(ModelSettings(path=str(model)))
        assert torch.allclose(again.model(ids).logits, after, atol=1e-4)
    assert not torch.allclose(before, after, atol=1e-2)
    assert "adapter/adapter_model.safetensors" in json.loads((model / MANIFEST).read_text())["files"]


def test_only_the_adapter_can_be_trained(random_model):
    model = adapted(random_model, LoraSettings(rank=4))
    trained = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert trained
    assert all("lora_" in name and "lm_head" not in name for name in trained)
