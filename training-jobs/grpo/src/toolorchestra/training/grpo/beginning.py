"""What is checked when a run begins in a folder: that its checkpoints fit on the disk, and that it goes on as it began."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from torch import nn

from toolorchestra.training.grpo.errors import InvalidRunError
from toolorchestra.training.grpo.settings import TrainingSettings

SETTINGS: Final = "settings.json"
MOMENTS: Final = 2  # that the optimiser keeps of each weight that is trained
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
    return (keep + 1) * (trained + MOMENTS * trained) + weights


def check_room(model: nn.Module, folder: Path, *, keep: int, free: Free = free_bytes) -> None:
    """Raises InvalidRunError where the disk is too full."""
    needed, found = needed_bytes(model, keep=keep), free(folder)
    if found < needed:
        raise InvalidRunError(
            f"{folder}: {found / MIB:,.0f} MiB are free, and checkpoints take up to {needed / MIB:,.0f} MiB",
            param="checkpoint.keep",
            hint="free some, keep fewer checkpoints, or name another folder",
        )


def check_same(folder: Path, settings: TrainingSettings, *, goes_on: bool) -> None:
    """Remember the settings of a new run. Raises InvalidRunError for one that ``goes_on`` otherwise than it began."""
    file, now = folder / SETTINGS, settings.model_dump(mode="json")
    if not goes_on or not file.exists():
        file.write_text(json.dumps(now, indent=2) + "\n")
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
