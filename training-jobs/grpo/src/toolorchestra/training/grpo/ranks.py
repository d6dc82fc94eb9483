"""Processes that train one model together: which of them this is, and what all of them must see or decide alike.

They are started by ``launching``, ``torchrun`` or ``accelerate launch``, which say in the environment how many there are.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch.distributed as dist

from toolorchestra.training.grpo.errors import InvalidRunError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """Process number ``rank`` of ``ranks``; the first one tells, writes and publishes."""

    rank: int
    ranks: int

    @property
    def is_first(self) -> bool:
        return self.rank == 0


def place(wanted: int, environment: Mapping[str, str] = os.environ) -> Place:
    """Where this process stands. Raises InvalidRunError where not as many were started as the run is written for."""
    found = Place(int(environment.get("RANK", "0")), int(environment.get("WORLD_SIZE", "1")))
    if found.ranks != wanted:
        raise InvalidRunError(
            f"processes: the run is written for {wanted}, and {found.ranks} were started",
            param="processes",
            hint=f"start it with torchrun --nproc-per-node {wanted}, or change the run: a step has episodes of each process",
        )
    return found


def gathered(mine: T) -> list[T]:
    """What each process has, in order; of a process that trains alone, its own."""
    if not dist.is_initialized():
        return [mine]
    found: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(found, mine)
    return found


def any_of(mine: bool) -> bool:
    """Whether it is so for one of the processes. All must ask: who stops alone leaves the others waiting."""
    return any(gathered(mine))
