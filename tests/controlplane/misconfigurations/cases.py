"""The table of misconfigurations: each is a folder of ``cases/`` with what a user wrote, and what must be told of it.

``manifests.yaml`` is applied as it is, ``then.yaml`` once ``first`` holds. ``world.yaml`` is what controllers and nodes would
write: objects, or the status alone of an object that is made by others. ``setup.yaml`` is there before.
"""

from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any, Final, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

FOLDER: Final = Path(__file__).parent / "cases"


class Told(BaseModel):
    """A condition as it must become. ``message``: parts of it, which name the field and the fix."""

    model_config = ConfigDict(extra="forbid")

    object: str  # KIND/NAME
    condition: str
    status: str
    reason: str
    message: list[str] = Field(default_factory=list)
    get: dict[str, str] = Field(default_factory=dict)  # column of `kubectl get` → what stands there

    @property
    def kind(self) -> str:
        return self.object.partition("/")[0]

    @property
    def name(self) -> str:
        return self.object.partition("/")[2]


class Expected(BaseModel):
    """What must be told of a mistake: by the refusal of ``kubectl apply``, or by conditions, the first of which is the cause."""

    model_config = ConfigDict(extra="forbid")

    mistake: str
    needs: list[str] = Field(default_factory=list)  # kserve, kueue, sandbox; or severed: no database
    labels: list[str] = Field(default_factory=list)  # of the namespace
    first: Told | None = None
    refused: list[str] = Field(default_factory=list)
    told: list[Told] = Field(default_factory=list)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        """A case that could not fail is none."""
        seen = any(one.message for one in self.told) and any(one.get for one in self.told)
        if not self.refused and not seen:
            raise ValueError("either refused, or told with a message and with columns")
        return self


@dataclass(frozen=True)
class Case:
    """One folder."""

    folder: Path
    expected: Expected

    @property
    def name(self) -> str:
        """Also that of its namespace."""
        return self.folder.name

    @property
    def lender(self) -> str:
        """Another namespace."""
        return f"{self.name}-lender"

    def documents(self, file: str, places: dict[str, str]) -> list[dict[str, Any]]:
        """The manifests of a file, with ``${…}`` filled in; none if there is no such file."""
        path = self.folder / file
        if not path.exists():
            return []
        return list(yaml.safe_load_all(Template(path.read_text(encoding="utf-8")).substitute(places)))


def read_cases() -> dict[str, Case]:
    """All cases by name."""
    return {folder.name: _read(folder) for folder in sorted(FOLDER.iterdir())}


def _read(folder: Path) -> Case:
    found = yaml.safe_load((folder / "expected.yaml").read_text(encoding="utf-8"))
    return Case(folder, Expected.model_validate(found))
