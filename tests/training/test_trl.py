"""What TRL makes of a batch: the tokens that carry loss are the policy's own, and the advantages are ours, unchanged."""

import math
from dataclasses import replace

import pytest
import torch
from datasets import Dataset
from trl import GRPOTrainer

from toolorchestra.training.grpo import trl as seam
from toolorchestra.training.grpo.grouping import Grouping, Schedule
from toolorchestra.training.grpo.local_policy import LocalPolicy
from toolorchestra.training.grpo.rollouts import Engine
from toolorchestra.training.grpo.settings import TrainingSettings
from toolorchestra.training.grpo.tiny.routes import Draw
from toolorchestra.training.grpo.tiny.staging import Routes
from toolorchestra.training.grpo.training import trainer_arguments

SETTINGS = TrainingSettings.model_validate(
    {
        "model": {"path": "seed"},
        "tasks": {"kind": "routes"},
        "rollout": {"group_size": 4, "groups_per_step": 2},
        "optimiser": {"steps": 1},
    }
)


class Seen(GRPOTrainer):
    """Keeps what its loss was given."""

    def _compute_loss(self, model, inputs):
        self.given = {name: value.clone() if torch.is_tensor(value) else value for name, value in inputs.items()}
        return super()._compute_loss(model, inputs)


class SeenCorrecting(Seen, seam.CorrectingTrainer):
    """The same of what a server sampled."""


def one_step(kind, grouping, model, tmp_path):
    """A trainer after one step of eight episodes, and what was heard of them."""
    heard = []
    trainer = kind(
        model=model,
        reward_funcs=[seam.advantage_reward],
        args=seam.config(**trainer_arguments(SETTINGS, tmp_path) | {"save_strategy": "no", "report_to": []}),
        train_dataset=Dataset.from_dict({"prompt": [str(n) for n in range(20)]}),
        processing_class=grouping.engine.codec.tokenizer,
        rollout_func=seam.rollout_function(
            grouping, Schedule(20, 1), lambda groups, figures, step: heard.append((groups, figures))
        ),
    )
    trainer.train()
    ((groups, figures),) = heard
    return trainer, [episode for group in groups for episode in group.episodes], figures


def test_the_installed_trl_is_the_one_that_the_seam_was_written_for():
    seam.check_trl()


def test_rows_are_scored_as_trl_scores_them_without_their_padding(codec, random_model, tmp_path):
    engine = Engine(LocalPolicy(random_model, codec, seed=1), codec)
    trainer, *_ = one_step(seam.TrimmingTrainer, Grouping(Routes(Draw(5), 20), engine, 4, seed=1), random_model, tmp_path)
    prompts, completions = (3, 9, 5, 4, 9, 7, 2, 6), (4, 1, 30, 2, 3, 1, 12, 5)  # tokens
    mask = torch.zeros(8, 4 + max(prompts) + max(completions), dtype=torch.long)  # four columns that nobody uses
    for row, (before, after) in enumerate(zip(prompts, completions, strict=True)):
        mask[row, 13 - before : 13 + after] = 1
    ids = torch.randint(10, 500, mask.shape, generator=torch.Generator().manual_seed(0)) * mask
    scored = {}
    for kind in (GRPOTrainer, seam.TrimmingTrainer):
        logps, entropies, loss = kind._get_per_token_logps_and_entropies(
            trainer, random_model, ids, mask, max(completions), compute_entropy=True
        )
        assert loss is None
        random_model.zero_grad()
        (logps * mask[:, 13:]).sum().backward()
        gradients = torch.cat([one.grad.flatten() for one in random_model.parameters()])
        scored[kind] = (logps * mask[:, 13:], entropies * mask[:, 13:], gradients)
    for plain, trimmed in zip(*scored.values(), strict=True):
        assert torch.allclose(plain, trimmed, atol=1e-4), (plain - trimmed).abs().max()
    assert scored[GRPOTrainer][0].shape == (8, 30)


def test_own_tokens_and_advantages_reach_the_loss_unchanged(codec, random_model, tmp_path, monkeypatch):
    engine = Engine(LocalPolicy(random_model, codec, seed=1), codec)
    grouping = Grouping(Routes(Draw(5), 20), engine, 4, seed=1)
    # Untrained, every episode is wrong and every group alike: advantages are drawn instead.
    given = iter(range(1, 9))
    monkeypatch.setattr(seam, "_advantages", lambda group: [(episode, next(given) - 4.5) for episode in group.episodes])
    trainer, episodes, figures = one_step(Seen, grouping, random_model, tmp_path)
    wanted = torch.tensor([n - 4.5 for n in range(1, 9)])
    centred = wanted - wanted.view(2, 4).mean(dim=1, keepdim=True).expand(2, 4).reshape(-1)
    order = [_row(trainer.given, episode, codec) for episode in episodes]
    assert sorted(order) == list(range(8))
    assert torch.allclose(trainer.given["advantages"][order], centred)
    for row, episode in zip(order, episodes, strict=True):
        own = (trainer.given["completion_mask"][row] * trainer.given["tool_mask"][row]).sum()
        assert own == sum(episode.trajectory.own)
    assert figures.right == 0


class Shifted(LocalPolicy):
    """Says of each turn's first token that it was less likely than it was, by a tenth."""

    async def write(self, turns):
        return [
            replace(one, logprobs=[one.logprobs[0] - math.log(1.1), *one.logprobs[1:]]) for one in await super().write(turns)
        ]


def test_what_a_server_sampled_is_weighed_and_what_exploration_wrote_is_not(codec, random_model, tmp_path):
    engine = Engine(Shifted(random_model, codec, seed=1), codec)
    grouping = Grouping(Routes(Draw(5), 20), engine, 4, seed=1, explored=0.5)
    trainer, episodes, _ = one_step(SeenCorrecting, grouping, random_model, tmp_path)
    explored = [episode for episode in episodes if episode.explored]
    assert len(explored) == 4
    for episode in episodes:
        row = _row(trainer.given, episode, codec)
        weight = trainer.given["importance_sampling_ratio"][row].item()
        assert weight == pytest.approx(1.1**episode.trajectory.turns, rel=1e-3)


def _row(given, episode, codec):
    """Where TRL, which shuffles, has put an episode."""
    ids = episode.trajectory.ids[episode.trajectory.prompt :]
    rows = [row for row, own in enumerate(given["completion_ids"].tolist()) if own[: len(ids)] == ids]
    assert rows, "the episode is not in the batch"
    return rows[0]


def test_environment_failures_have_no_advantage():
    assert seam.advantage_reward(advantage=[1.0, None, -1.0]) == [1.0, None, -1.0]


def test_a_trl_of_another_version_is_refused(monkeypatch):
    monkeypatch.setattr(seam.trl, "__version__", "2.0.0")
    with pytest.raises(seam.UnavailableError, match=r"TRL 2\.0\.0 is installed"):
        seam.check_trl()
