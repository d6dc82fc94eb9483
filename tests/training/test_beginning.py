"""A run begins only where its checkpoints fit, and goes on only as it began."""

import json

import pytest

from toolorchestra.training.grpo.beginning import SETTINGS, check_enough, check_room, check_same, make_folder, needed_bytes
from toolorchestra.training.grpo.checkpoints import publish
from toolorchestra.training.grpo.errors import InvalidRunError
from toolorchestra.training.grpo.settings import TrainingSettings
from toolorchestra.training.grpo.training import Run

DATA = {"worlds": {"railway": "1f"}}
RUN = {"model": {"path": "seed"}, "tasks": {"kind": "routes"}, "gate": None}


def settings_of(**changes):
    return TrainingSettings.model_validate({**RUN, **changes})


def test_a_full_disk_is_noticed_before_a_step_is_taken(tmp_path, codec, random_model):
    model = publish(random_model, codec.tokenizer, tmp_path / "model", {})
    run = Run(settings_of(model={"path": str(model)}), tmp_path / "out", tell=print, free=lambda _: 100_000)
    with pytest.raises(InvalidRunError, match=r"0 MiB are free, and checkpoints take up to \d+ MiB") as caught:
        run.train()
    assert caught.value.param == "checkpoint.keep"
    assert not (tmp_path / "out" / "metrics.jsonl").exists()


def test_a_disk_that_is_full_half_way_is_named(tmp_path, codec, random_model):
    model = publish(random_model, codec.tokenizer, tmp_path / "model", {})
    left = iter([1 << 40, 0])
    optimiser, rollout = {"steps": 1}, {"group_size": 2, "groups_per_step": 1}
    settings = settings_of(model={"path": str(model)}, optimiser=optimiser, rollout=rollout, checkpoint={"every": 1})
    run = Run(settings, tmp_path / "out", tell=print, free=lambda _: next(left))
    (tmp_path / "out" / "checkpoints").mkdir(parents=True)
    (tmp_path / "out" / "checkpoints" / "checkpoint-1").write_text("in the way")
    with pytest.raises(InvalidRunError, match="0 MiB are free") as caught:
        run.train()
    assert isinstance(caught.value.__context__, OSError)


def test_room_is_needed_for_weights_and_moments_of_each_checkpoint(tmp_path, random_model):
    weights = 4 * sum(one.numel() for one in random_model.parameters())
    assert needed_bytes(random_model, keep=2) == 3 * 4 * weights + weights
    check_room(random_model, tmp_path, keep=2, free=lambda _: 13 * weights)
    with pytest.raises(InvalidRunError):
        check_room(random_model, tmp_path, keep=2, free=lambda _: 12 * weights)
    check_room(random_model, tmp_path, keep=2, held=weights, free=lambda _: 12 * weights)
    for parameter in random_model.parameters():
        parameter.requires_grad_(False)
    assert needed_bytes(random_model, keep=2) == weights  # an adapter would add a little


def test_a_step_needs_as_many_tasks_as_it_plays():
    check_enough(settings_of(processes=2, rollout={"groups_per_step": 4}), 8)
    with pytest.raises(InvalidRunError, match="tasks: there are 7, and a step plays 8"):
        check_enough(settings_of(processes=2, rollout={"groups_per_step": 4}), 7)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InvalidRunError, match=r"--out: .*/file cannot be made: File exists"):
        make_folder(tmp_path / "file")


def test_a_run_goes_on_as_it_began_or_not_at_all(tmp_path):
    check_same(tmp_path, settings_of(), DATA, goes_on=False)
    check_same(tmp_path, settings_of(title="Longer", optimiser={"steps": 900}, checkpoint={"keep": 5}), DATA, goes_on=True)
    with pytest.raises(InvalidRunError, match="the run there has processes 1, and this one 2"):
        check_same(tmp_path, settings_of(processes=2), DATA, goes_on=True)
    with pytest.raises(InvalidRunError, match=r"optimiser\.learning_rate 0\.001, and this one 0\.01"):
        check_same(tmp_path, settings_of(optimiser={"learning_rate": 0.01}), DATA, goes_on=True)
    with pytest.raises(InvalidRunError, match=r"data\.worlds\.railway '1f', and this one '2e'"):
        check_same(tmp_path, settings_of(), {"worlds": {"railway": "2e"}}, goes_on=True)
    check_same(tmp_path, settings_of(processes=2), DATA, goes_on=False)  # nothing was trained yet
    assert json.loads((tmp_path / SETTINGS).read_text())["processes"] == 2
