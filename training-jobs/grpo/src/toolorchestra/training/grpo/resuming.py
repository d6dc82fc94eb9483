"""What earlier starts of a run left in its folder: what it goes on from, and what it takes back. Cut files do not count."""

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

CHECKPOINTS: Final = "checkpoints"


def newest_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint, to go on from; None for a new run."""
    found = [path for path in (folder / CHECKPOINTS).glob("checkpoint-*") if _is_whole(path)]
    return max(found, key=step_of) if found else None


def _is_whole(checkpoint: Path) -> bool:
    """Its state is written last; a name that ends otherwise is somebody's copy."""
    try:
        state = json.loads((checkpoint / "trainer_state.json").read_text())
    except (OSError, ValueError):
        return False
    return isinstance(state, dict) and checkpoint.name.rpartition("-")[2].isdecimal()


def set_aside(model: Path) -> None:
    """What an earlier gate let pass is no longer what the folder was trained to; it stays under another name."""
    if model.exists():
        older = model.with_name(f"{model.name}.older")
        shutil.rmtree(older, ignore_errors=True)
        model.rename(older)


def step_of(checkpoint: Path | None) -> int:
    """The step after which a checkpoint was written; 0 for none."""
    return int(checkpoint.name.rpartition("-")[2]) if checkpoint is not None else 0


def held_bytes(folder: Path) -> int:
    """What a run's checkpoints take already: those that it writes replace them."""
    return sum(file.stat().st_size for file in (folder / CHECKPOINTS).rglob("*") if file.is_file())


def write_whole(file: Path, text: str) -> None:
    """All of it or, where this process is killed meanwhile, nothing."""
    draft = file.with_name(f"{file.name}.draft")
    draft.write_text(text)
    draft.rename(file)


def seconds_at(metrics: Path, step: int) -> float:
    """What the steps up to one took; 0 where nothing is known of it."""
    return next((float(line["seconds"]) for _, line in _whole_lines(metrics) if line["step"] == step), 0.0) if step else 0.0


def forget_after(lines: Path, step: int) -> None:
    """Drop the lines of steps that a run is about to take again."""
    if lines.exists():
        write_whole(lines, "".join(f"{text}\n" for text, line in _whole_lines(lines) if line["step"] <= step))


def _whole_lines(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """As written and as read. A line that was cut, when its writer was killed or the disk was full, is none."""
    for text in file.read_text().splitlines() if file.exists() else ():
        with suppress(ValueError):
            yield text, json.loads(text)
