"""Every place where this project touches TRL beyond its public arguments, with a check of what it relies on.

TRL 1.16 calls ``rollout_func(prompts, trainer)`` with each prompt repeated ``num_generations`` times, and hands the extra lists
it returns to the reward functions by name. Advantages are computed here (``core.rewards``), so the reward function returns
them as they are and TRL's own normalisation is off: with ``scale_rewards="none"`` it subtracts a group mean that is 0.
"""

import asyncio
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import torch
import trl
from torch import Tensor
from torch.nn.functional import pad
from trl import GRPOConfig, GRPOTrainer

from toolorchestra.core.errors import UnavailableError
from toolorchestra.training.grpo.grouping import Figures, Group, Grouping, Schedule, whole_groups
from toolorchestra.training.grpo.rollouts import Episode
from toolorchestra.training.grpo.settings import LocalBackend, VllmBackend
from toolorchestra.training.grpo.trajectories import Trajectory

VERSION: Final = "1.16"
SCORED: Final = ("model", "input_ids", "attention_mask", "logits_to_keep", "batch_size")  # what TRL scores tokens from
PIECES: Final = 4  # of a micro-batch, that are scored one after the other
ADVANTAGE: Final = "advantage"
Batch = dict[str, Any]
Heard = Callable[[Sequence[Group], Figures, int], None]


def check_trl() -> None:
    """Raises UnavailableError where the installed TRL is not one that this module was written for."""
    asked = inspect.signature(GRPOTrainer.__init__).parameters
    scored = inspect.signature(GRPOTrainer._get_per_token_logps_and_entropies).parameters  # noqa: SLF001 - overridden below
    known = "rollout_func" in asked and tuple(scored)[1 : len(SCORED) + 1] == SCORED
    if not known or not trl.__version__.startswith(VERSION):
        raise UnavailableError(
            f"TRL {trl.__version__} is installed, {VERSION} is needed", hint="install from requirements.lock"
        )


def rollout_function(grouping: Grouping, schedule: Schedule, heard: Heard) -> Callable[..., Batch]:
    """What TRL asks for episodes; its prompts only say how many there is room for.

    ``heard`` gets the groups of each batch, what they came to, and the step.
    """

    def rollout(prompts: Sequence[str], trainer: GRPOTrainer) -> Batch:
        step, ranks = int(trainer.state.global_step), trainer.accelerator
        groups_here = whole_groups(prompts, grouping.size)
        numbers = schedule.tasks(step, groups_here, rank=ranks.process_index, ranks=ranks.num_processes)
        groups = asyncio.run(grouping.play(numbers, step=step))
        heard(groups, Figures.of(groups), step)
        return batch_of(groups)

    return rollout


def batch_of(groups: Sequence[Group]) -> Batch:
    """The episodes of groups as TRL takes them: what came before the first output is the prompt, the rest the completion."""
    episodes = [(episode, advantage) for group in groups for episode, advantage in _advantages(group)]
    trajectories = [episode.trajectory for episode, _ in episodes]
    return {
        "prompt_ids": [one.ids[: one.prompt] for one in trajectories],
        "completion_ids": [one.ids[one.prompt :] for one in trajectories],
        "logprobs": [_logprobs(one) for one in trajectories],
        "env_mask": [one.own[one.prompt :] for one in trajectories],
        ADVANTAGE: [advantage for _, advantage in episodes],
    }


def _logprobs(trajectory: Trajectory) -> list[float | None]:
    """None for what exploration wrote: nobody sampled it, so there is nothing to correct."""
    marked = zip(trajectory.logprobs, trajectory.forced, strict=True)
    return [None if forced else logprob for logprob, forced in marked][trajectory.prompt :]


class TrimmingTrainer(GRPOTrainer):  # type: ignore[misc]  # TRL has no types
    """Scores rows of like length together, without the columns that are padding in all of them.

    TRL pads the rows of a step to the longest prompt and the longest completion, and episodes differ by several times.
    """

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        **others: Any,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        width = input_ids.shape[1]
        pieces = _of_like_length(attention_mask, at_once=batch_size or len(input_ids))
        scored = []
        for rows in pieces:
            first, last = _used(attention_mask[rows], at_least=width - logits_to_keep + 1)
            ids, mask = input_ids[rows, first:last], attention_mask[rows, first:last]
            found = super()._get_per_token_logps_and_entropies(
                model, ids, mask, last - width + logits_to_keep, batch_size, **others
            )
            scored.append([pad(one, (0, width - last)) if one is not None and one.ndim else one for one in found])
        logps, entropies, losses = zip(*scored, strict=True)
        back = torch.cat(pieces).argsort()
        return (
            torch.cat(logps)[back],
            None if entropies[0] is None else torch.cat(entropies)[back],
            None if losses[0] is None else torch.stack(losses).mean(),
        )


def _of_like_length(mask: Tensor, *, at_once: int) -> tuple[Tensor, ...]:
    """The numbers of a mask's rows, shortest first, in pieces."""
    pieces: tuple[Tensor, ...] = mask.sum(dim=1).argsort(stable=True).split(max(1, at_once // PIECES))
    return pieces


def _used(mask: Tensor, *, at_least: int) -> tuple[int, int]:
    """The columns that hold a token in some row, as a range that ends behind the first ``at_least``."""
    columns = mask.any(dim=0).nonzero()[:, 0]
    return int(columns[0]), max(int(columns[-1]) + 1, at_least)


class CorrectingTrainer(TrimmingTrainer):
    """Weighs each episode by how likely it is to the trainer over how likely it was to the server that sampled it.

    TRL does so only for a vLLM that it drives itself, so it is told that there is one, and that it has the newest weights
    already: the policy backend sends them when a step begins. Tokens whose log-probability is None take no part.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.use_vllm = True

    @property
    def _last_loaded_step(self) -> int:
        return int(self.state.global_step)


def trainer_class(backend: LocalBackend | VllmBackend) -> type[GRPOTrainer]:
    """Which trainer fits who samples: in this process nothing needs to be corrected."""
    return CorrectingTrainer if isinstance(backend, VllmBackend) else TrimmingTrainer


def restore(trainer: GRPOTrainer, checkpoint: Path) -> None:
    """Give the trainer's model a checkpoint's weights, and train no further."""
    trainer._load_from_checkpoint(str(checkpoint))  # noqa: SLF001 - train() takes one step at least


def advantage_reward(*, advantage: Sequence[float | None], **_: Any) -> list[float | None]:
    """The reward function: the advantage itself; None for an episode that its environment broke."""
    return list(advantage)


def fixed_arguments() -> dict[str, Any]:
    """What of TRL's configuration must be so for the advantages to arrive unchanged."""
    return {"scale_rewards": "none", "loss_type": "grpo", "multi_objective_aggregation": "sum_then_normalize"}


def config(**arguments: Any) -> GRPOConfig:
    """TRL's configuration with what is fixed here."""
    return GRPOConfig(**{**arguments, **fixed_arguments()})


def _advantages(group: Group) -> list[tuple[Episode, float | None]]:
    return list(zip(group.episodes, group.score.advantages, strict=True))
