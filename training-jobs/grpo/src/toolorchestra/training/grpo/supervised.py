"""Supervised warm start: next-token loss on the policy's own tokens of recorded conversations, nothing else.

Only positions that carry loss go through the output layer, which halves the time on a CPU.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import torch
from torch import Tensor
from transformers import PreTrainedModel

from toolorchestra.training.grpo.trajectories import Trajectory

TOLD_EVERY: Final = 100
WARMUP: Final = 50
LEAST_RATE: Final = 0.05  # of the highest


@dataclass(frozen=True, slots=True)
class Course:
    """``steps`` of ``batch`` conversations each, drawn again and again; the rate falls along a cosine."""

    steps: int
    batch: int
    learning_rate: float
    seed: int = 0


def teach(
    model: PreTrainedModel, conversations: Sequence[Trajectory], course: Course, *, tell: Callable[[str], None] = print
) -> None:
    """Train ``model`` in place. The same conversations, course and thread count give the same weights."""
    draw, optimiser = Random(course.seed), _optimiser(model, course)
    model.train()
    for step in range(course.steps):
        _set_rate(optimiser, course, step)
        loss = _loss(model, [draw.choice(conversations) for _ in range(course.batch)])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        if (step + 1) % TOLD_EVERY == 0:
            tell(f"step {step + 1} of {course.steps}: loss {loss.item():.4f}")
    model.eval()


def _optimiser(model: PreTrainedModel, course: Course) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=course.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)


def _set_rate(optimiser: torch.optim.Optimizer, course: Course, step: int) -> None:
    fall = 0.5 * (1 + math.cos(math.pi * step / course.steps))
    share = min(1.0, (step + 1) / WARMUP) * (LEAST_RATE + (1 - LEAST_RATE) * fall)
    for group in optimiser.param_groups:
        group["lr"] = course.learning_rate * share


def _loss(model: PreTrainedModel, batch: Sequence[Trajectory]) -> Tensor:
    width = max(len(one.ids) for one in batch)
    ids = torch.tensor([one.ids + [one.codec.pad] * (width - len(one.ids)) for one in batch])
    own = torch.tensor([one.own + [0] * (width - len(one.own)) for one in batch]).bool()
    present = torch.tensor([[1] * len(one.ids) + [0] * (width - len(one.ids)) for one in batch])
    hidden: Any = model.base_model(input_ids=ids, attention_mask=present).last_hidden_state[:, :-1]
    wanted = own[:, 1:]
    logits = model.get_output_embeddings()(hidden[wanted])
    return torch.nn.functional.cross_entropy(logits, ids[:, 1:][wanted])
