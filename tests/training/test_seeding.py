"""The seed of the tiny policy is made by one command; here with courses of a few steps, which teach next to nothing."""

from dataclasses import replace

import torch

from toolorchestra.training.grpo.checkpoints import load
from toolorchestra.training.grpo.settings import ModelSettings
from toolorchestra.training.grpo.tiny.seeding import STAGES, make_seed
from toolorchestra.training.grpo.tiny.warmstart import CHEAPEST, Lessons

SHORT = [(lessons, 6, replace(course, steps=3, batch=4)) for lessons, _, course in STAGES]


def test_a_seed_is_the_same_each_time_and_can_be_trained_on(tmp_path):
    first, second = (make_seed(tmp_path / name, stages=SHORT, tell=lambda _: None) for name in ("first", "second"))
    loaded, again = (load(ModelSettings(path=str(folder))) for folder in (first, second))
    assert loaded.manifest["kind"] == "seed"
    assert loaded.manifest["files"] == again.manifest["files"]
    assert all(torch.isfinite(parameter).all() for parameter in loaded.model.parameters())


def test_lessons_do_as_they_are_told():
    for number in range(200):
        task, card = Lessons(seed=1, told=1.0).lesson(number)
        fits = [one for one in task.cards if one.knows(task.kind)]
        if task.wish.words == CHEAPEST:
            assert card.price == min(one.price for one in fits)
        elif task.wish.words.startswith("ask "):
            assert task.wish.words == f"ask {card.name}"
        else:
            assert card.latency == min(one.latency for one in fits)
