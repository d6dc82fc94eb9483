"""Supervised warm start: next-token loss on the policy's own tokens of recorded conversations, nothing else.

Only positions that carry loss go through the output layer, which halves the time on a CPU. Matrices move by Muon (Jordan et
al., 2024; scaled to AdamW's step as in Liu et al., arXiv:2502.16982), all else by AdamW: with it a tiny model copies names from
a list after some 200 steps, with AdamW alone after some 600.
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
PART: Final = 16  # conversations that go through the model at once
MATRIX: Final = 2  # dimensions
MATRIX_RATE: Final = 2.0  # of Muon, as a multiple of AdamW's
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
    draw, optimisers = Random(course.seed), _optimisers(model, course)
    model.train()
    for step in range(course.steps):
        _set_rates(optimisers, course, step)
        loss = _learn(model, [draw.choice(conversations) for _ in range(course.batch)])
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
            optimiser.zero_grad()
        if (step + 1) % TOLD_EVERY == 0:
            tell(f"step {step + 1} of {course.steps}: loss {loss:.4f}")
    model.eval()


def _optimisers(model: PreTrainedModel, course: Course) -> tuple[torch.optim.Optimizer, ...]:
    vocabulary = {id(model.get_input_embeddings().weight), id(model.get_output_embeddings().weight)}
    weights = [(weight, weight.ndim == MATRIX and id(weight) not in vocabulary) for weight in model.parameters()]
    matrices = [weight for weight, is_matrix in weights if is_matrix]
    others = [weight for weight, is_matrix in weights if not is_matrix]
    rate = course.learning_rate
    return (
        torch.optim.Muon(matrices, lr=MATRIX_RATE * rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.0),
    )


def _set_rates(optimisers: Sequence[torch.optim.Optimizer], course: Course, step: int) -> None:
    fall = 0.5 * (1 + math.cos(math.pi * step / course.steps))
    share = min(1.0, (step + 1) / WARMUP) * (LEAST_RATE + (1 - LEAST_RATE) * fall)
    for optimiser in optimisers:
        for group in optimiser.param_groups:
            group["lr"] = group.setdefault("highest_lr", group["lr"]) * share


def _learn(model: PreTrainedModel, batch: Sequence[Trajectory]) -> float:
    """Add the gradients of a batch; its mean loss. Parts of equal lengths waste nothing on padding."""
    ordered, total = sorted(batch, key=lambda one: len(one.ids)), 0.0
    own = sum(sum(one.own[1:]) for one in batch)
    for part in (ordered[start : start + PART] for start in range(0, len(batch), PART)):
        loss = _summed_loss(model, part) / own
        loss.backward()
        total += loss.item()
    return total


def _summed_loss(model: PreTrainedModel, batch: Sequence[Trajectory]) -> Tensor:
    width = max(len(one.ids) for one in batch)
    ids = torch.tensor([one.ids + [one.codec.pad] * (width - len(one.ids)) for one in batch])
    own = torch.tensor([one.own + [0] * (width - len(one.own)) for one in batch]).bool()
    present = torch.tensor([[1] * len(one.ids) + [0] * (width - len(one.ids)) for one in batch])
    hidden: Any = model.base_model(input_ids=ids, attention_mask=present).last_hidden_state[:, :-1]
    wanted = own[:, 1:]
    logits = model.get_output_embeddings()(hidden[wanted])
    return torch.nn.functional.cross_entropy(logits, ids[:, 1:][wanted], reduction="sum")
