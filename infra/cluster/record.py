"""What the node changes on this machine outside of its folder, noted before it is done so that all of it can be undone."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

PATH: Final = Path("/run/toolorchestra-cluster.json")


@dataclass
class Record:
    """There is one node per machine, so there is one record, which a restart of the machine removes as it does the rest.

    ``made`` are folders that were not there before, outer ones first; ``settings`` are the kernel's values as they were;
    ``pid`` and ``started`` name the process that holds the node's namespaces. ``path`` is where the record is.
    """

    folder: str
    made: list[str] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    pid: int = 0
    started: int = 0
    path: str = str(PATH)

    def save(self) -> None:
        draft = Path(f"{self.path}.draft")
        draft.write_text(json.dumps(asdict(self)), encoding="utf-8")
        draft.replace(self.path)

    def forget(self) -> None:
        Path(self.path).unlink()

    def make_folders(self, folders: Iterable[Path]) -> None:
        """Make folders with their parents and note those that were missing."""
        for folder in folders:
            missing = [str(path) for path in (folder, *folder.parents) if not path.exists()]
            self.made += reversed(missing)
            self.save()
            folder.mkdir(parents=True, exist_ok=True)

    def note_settings(self, paths: Iterable[Path]) -> None:
        """Note the values of those of the kernel's settings that exist."""
        self.settings |= {str(path): path.read_text(encoding="utf-8").strip() for path in paths if path.exists()}
        self.save()


def load(path: Path = PATH) -> Record | None:
    return Record(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None
