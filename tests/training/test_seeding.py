"""The seed of the tiny policy is made by one command; here with courses of a few steps, which teach next to nothing."""

from dataclasses import replace

import torch

from toolorchestra.training.grpo.checkpoints import load
from toolorchestra.training.grpo.settings import ModelSettings
from toolorchestra.training.grpo.tiny.drills import TURNS, Drills
from toolorchestra.training.grpo.tiny.seeding import STAGES, Stage, lean_seed, make_seed
from toolorchestra.training.grpo.tiny.warmstart import CHEAPEST, Lessons

SHORT = [Stage([(lessons, 6) for lessons, _ in stage.parts], replace(stage.course, steps=3, batch=4)) for stage in STAGES]


def test_a_seed_is_the_same_each_time_and_can_be_trained_on(tmp_path):
    first, second = (make_seed(tmp_path / name, stages=SHORT, tell=lambda _: None) for name in ("first", "second"))
    loaded, again = (load(ModelSettings(path=str(folder))) for folder in (first, second))
    assert loaded.manifest["kind"] == "seed"
    assert loaded.manifest["files"] == again.manifest["files"]
    assert all(torch.isfinite(parameter).all() for parameter in loaded.model.parameters())


def test_a_leaning_seed_starts_from_a_seed(tmp_path):
    seed = make_seed(tmp_path / "seed", stages=SHORT, tell=lambda _: None)
    leaning = lean_seed(seed, tmp_path / "leaning", 0.999, course=SHORT[0].course, tell=lambda _: None)
    weights = [load(ModelSettings(path=str(folder))).model.get_input_embeddings().weight for folder in (seed, leaning)]
    assert not torch.equal(*weights)
    assert torch.allclose(*weights, atol=0.1)


async def test_drills_ask_much_of_one_list_and_names_alone_carry_loss(codec):
    for number in range(20):
        drill = await Drills(seed=1).trajectory(number, codec)
        text = codec.decode(drill.ids)
        answers = [turn.split("<|im_end|>")[0] for turn in text.split("assistant\ncall ")[1:]]
        said = [codec.decode([one]) for one, own in zip(drill.ids, drill.own, strict=True) if own]
        assert said == answers
        assert 7 <= len(said) <= TURNS
        assert all(f"\n{name}(" in text for name in said)
        lines = [line.removesuffix("<|im_end|>") for line in text.splitlines()]
        told = {line.removeprefix("Preference: ask ") for line in lines if line.startswith("Preference: ask ")}
        assert told <= set(said)


def test_lessons_are_seen_about_once():
    for stage in STAGES:
        if any(isinstance(lessons, Lessons) for lessons, _ in stage.parts):
            assert sum(count for _, count in stage.parts) >= stage.course.steps * stage.course.batch * 0.9


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
