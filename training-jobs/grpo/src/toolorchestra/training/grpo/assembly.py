"""What a run plays with, built from its settings; the only place that knows how source, engine and groups hang together."""

from toolorchestra.training.grpo.checkpoints import Loaded
from toolorchestra.training.grpo.grouping import Grouping
from toolorchestra.training.grpo.local_policy import LocalPolicy
from toolorchestra.training.grpo.rollouts import Engine
from toolorchestra.training.grpo.settings import TrainingSettings
from toolorchestra.training.grpo.tiny.routes import Draw
from toolorchestra.training.grpo.tiny.staging import Routes


def grouping_of(settings: TrainingSettings, loaded: Loaded, *, size: int | None = None) -> Grouping:
    """The run's tasks, played by its model in this process, in groups of ``size`` (default: the run's)."""
    tasks, rollout = settings.tasks, settings.rollout
    policy = LocalPolicy(loaded.model, loaded.codec, seed=settings.seed)
    return Grouping(
        source=Routes(Draw(tasks.seed, flipped=tasks.flipped), tasks.count),
        engine=Engine(policy, loaded.codec, own_token_ms=rollout.own_token_ms),
        size=size or rollout.group_size,
        seed=settings.seed,
        form=settings.form,
        explored=rollout.explored,
    )
