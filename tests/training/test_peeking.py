"""One group, readable: the tools with their prices, what each episode did, and why it is worth what it is worth."""

import asyncio

import pytest

from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.training.grpo.checkpoints import publish
from toolorchestra.training.grpo.grouping import Grouping
from toolorchestra.training.grpo.peeking import peek, shown
from toolorchestra.training.grpo.planning import dry_run
from toolorchestra.training.grpo.rollouts import Engine
from toolorchestra.training.grpo.settings import TrainingSettings
from toolorchestra.training.grpo.testing import OraclePolicy
from toolorchestra.training.grpo.tiny.routes import Draw
from toolorchestra.training.grpo.tiny.staging import Routes, oracle


def test_a_group_is_shown_with_tools_dollars_terms_and_advantages(codec):
    draw = Draw(5)
    task = draw.task(2)
    grouping = Grouping(Routes(draw, 20), Engine(OraclePolicy(codec, [task]), codec), 8, seed=1)
    (group,) = asyncio.run(grouping.play([2], step=0))
    text = shown(group)
    assert task.question in text
    assert all(card.name in text for card in task.cards)
    assert f'call {oracle(task).name} {{"question": "{task.question}"}}' in text
    assert "(first tool drawn)" in text
    assert "advantage +" in text


def test_peek_and_dry_run_take_the_runs_own_model(codec, random_model, tmp_path):
    model = publish(random_model, codec.tokenizer, tmp_path / "model", {})
    settings = TrainingSettings.model_validate(
        {"model": {"path": str(model)}, "tasks": {"kind": "routes"}, "rollout": {"group_size": 2, "groups_per_step": 2}}
    )
    assert "dropped: the rewards differ too little" in asyncio.run(peek(settings, 3, 2))
    with pytest.raises(InvalidRequestError, match="a group of 0 episodes"):
        asyncio.run(peek(settings, 3, 0))
    told = dry_run(settings)
    assert told["episodes"] == 2 * 2 * 60
    assert told["parameters"] == sum(parameter.numel() for parameter in random_model.parameters())
    assert told["realToolDollars"] == "0"
