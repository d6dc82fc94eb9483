"""The average of a run's newest weights: what its gate judges and what it publishes, since single steps are noisy.

Exponential, after every step (Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992).
"""

from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file, save_file
from torch import nn

PREFIX: Final = "average-"


class Average:
    """Of the weights of ``model`` that are trained, in float32; in each step ``keep`` of it stays. 0: there is none."""

    def __init__(self, model: nn.Module, keep: float) -> None:
        self._keep = keep
        self._weights = [one for one in model.parameters() if one.requires_grad] if keep else []
        self._mean = [one.detach().float().clone() for one in self._weights]

    def add(self) -> None:
        """Take in the weights as they are now."""
        with torch.no_grad():
            for mean, newest in zip(self._mean, self._weights, strict=True):
                mean.lerp_(newest.float(), 1 - self._keep)

    def give(self) -> None:
        """Make the average the model's weights."""
        with torch.no_grad():
            for mean, weights in zip(self._mean, self._weights, strict=True):
                weights.copy_(mean)

    def save(self, checkpoints: Path, step: int) -> None:
        """Beside the checkpoint of a step, before that is written: a whole checkpoint always has one."""
        if self._weights:
            checkpoints.mkdir(parents=True, exist_ok=True)
            draft = checkpoints / f".{PREFIX}draft"
            save_file({str(number): mean for number, mean in enumerate(self._mean)}, draft)
            draft.rename(_file(checkpoints, step))

    def load(self, checkpoints: Path, step: int) -> None:
        """Go on from what was saved. Raises OSError where it is gone, SafetensorError where it is broken."""
        if self._weights:
            found = load_file(_file(checkpoints, step))
            self._mean = [found[str(number)].to(one.device) for number, one in enumerate(self._weights)]


def forget_averages(checkpoints: Path) -> None:
    """Drop those whose checkpoints are gone."""
    for file in checkpoints.glob(f"{PREFIX}*"):
        if not (checkpoints / f"checkpoint-{file.stem.removeprefix(PREFIX)}").exists():
            file.unlink(missing_ok=True)


def _file(checkpoints: Path, step: int) -> Path:
    return checkpoints / f"{PREFIX}{step}.safetensors"
