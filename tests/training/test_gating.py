"""The gate compares with the oracle in solved tasks and dollars, and says in words what is not good enough."""

from toolorchestra.training.grpo.gating import failures, route_score
from toolorchestra.training.grpo.local_policy import LocalPolicy
from toolorchestra.training.grpo.rollouts import Engine
from toolorchestra.training.grpo.settings import GateSettings
from toolorchestra.training.grpo.testing import OraclePolicy
from toolorchestra.training.grpo.tiny.routes import Draw

DRAW = Draw(777, held_out=True)


def test_the_oracle_passes(codec):
    tasks = [DRAW.task(number) for number in range(40)]
    score = route_score(Engine(OraclePolicy(codec, tasks), codec), DRAW, 40)
    assert (score.solved, score.cost_over_oracle, score.best_route) == (1.0, 1.0, 1.0)
    assert failures(score, GateSettings()) == []
    assert min(score.routes.values()) >= 4


def test_a_policy_that_knows_nothing_does_not(codec, random_model):
    score = route_score(Engine(LocalPolicy(random_model, codec, seed=1), codec), DRAW, 8)
    (reason,) = failures(score, GateSettings())[:1]
    assert "it solved 0.0% of 8 unseen tasks, and 97.0% are needed" in reason
