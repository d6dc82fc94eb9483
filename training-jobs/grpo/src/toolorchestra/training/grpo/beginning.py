"""What is checked when a run begins in a folder: that its checkpoints fit on the disk, and that it goes on as it began."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from torch import nn

from toolorchestra.training.grpo.errors import InvalidRunError
from toolorchestra.training.grpo.resuming import write_whole
from toolorchestra.training.grpo.settings import TrainingSettings

SETTINGS: Final = "settings.json"
BESIDE: Final = 3  # numbers per weight that is trained: two moments of the optimiser, and the average
MIB: Final = 1 << 20
Free: TypeAlias = Callable[[Path], int]
# What may differ when a run goes on: how long, what is kept, what it must pass at the end.
FREE_TO_CHANGE: Final = ("title", "checkpoint", "gate", "optimiser.steps", "optimiser.minutes")


def free_bytes(folder: Path) -> int:
    """What the disk of a folder has left."""
    return shutil.disk_usage(folder).free


def needed_bytes(model: nn.Module, *, keep: int) -> int:
    """What a run writes at most at a time: its checkpoints, one more while it is replaced, and the published model."""
    weights: int = sum(one.numel() * one.element_size() for one in model.parameters())
    trained: int = sum(one.numel() * one.element_size() for one in model.parameters() if one.requires_grad)
    return (keep + 1) * (trained + BESIDE * trained) + weights


def make_folder(folder: Path) -> None:
    """Raises InvalidRunError where that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidRunError(f"--out: {folder} cannot be made: {error.strerror}", param="--out") from error


def check_enough(settings: TrainingSettings, tasks: int) -> None:
    """Raises InvalidRunError for fewer tasks than a step plays: there would be no step."""
    a_step = settings.rollout.groups_per_step * settings.processes
    if tasks < a_step:
        raise InvalidRunError(
            f"tasks: there are {tasks}, and a step plays {a_step} (rollout.groups_per_step times processes)",
            param="tasks",
            hint="add tasks or draws, or play fewer groups a step",
        )


def check_room(model: nn.Module, folder: Path, *, keep: int, held: int = 0, free: Free = free_bytes) -> None:
    """``held``: bytes there that will be replaced. Raises InvalidRunError where the disk is too full."""
    needed, found = needed_bytes(model, keep=keep), free(folder) + held
    if found < needed:
        raise InvalidRunError(
            f"{folder}: {found / MIB:,.0f} MiB are free, and checkpoints take up to {needed / MIB:,.0f} MiB",
            param="checkpoint.keep",
            hint="free some, keep fewer checkpoints, or name another folder",
        )


def check_same(folder: Path, settings: TrainingSettings, data: Mapping[str, Any], *, goes_on: bool) -> None:
    """Remember the settings of a new run, and what its tasks were made from.

    Raises InvalidRunError for one that ``goes_on`` otherwise than it began.
    """
    file, now = folder / SETTINGS, {**settings.model_dump(mode="json"), "data": data}
    if not goes_on or not file.exists():
        write_whole(file, json.dumps(now, indent=2) + "\n")
        return
    before, after = _flat(json.loads(file.read_text())), _flat(now)
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name) and not name.startswith(FREE_TO_CHANGE):
            raise InvalidRunError(
                f"{folder}: the run there has {name} {before.get(name)!r}, and this one {after.get(name)!r}",
                param=name,
                hint="name another folder, or go on with what it began with",
            )


def _flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in document.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found
