"""What was observed of resources, kept in a file between starts: conditions, discovered operations, where a model is served.

An observation belongs to the spec it was made of; once the spec changes it no longer counts.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import structlog
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from toolorchestra.core.registry import Identity, Observation
from toolorchestra.core.resources import Resource


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    namespace: str
    name: str
    spec_hash: str
    observation: Observation


_FILE: Final = TypeAdapter(list[_Entry])


class ObservationFile:
    """The newest observation of each resource."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._entries = {(entry.kind, entry.namespace, entry.name): entry for entry in _load(path)}

    def of(self, resources: Mapping[Identity, Resource]) -> dict[Identity, Observation]:
        """The observations that still hold for these resources."""
        held = ((key, self._entries.get(key), resource) for key, resource in resources.items())
        return {key: entry.observation for key, entry, resource in held if entry and entry.spec_hash == spec_hash(resource)}

    def put(self, seen: Mapping[Identity, Observation], resources: Mapping[Identity, Resource]) -> None:
        """Remember observations; the file is replaced in one step. A file that cannot be written is only reported."""
        for key, observation in seen.items():
            kind, namespace, name = key
            made_of = spec_hash(resources[key])
            self._entries[key] = _Entry(kind=kind, namespace=namespace, name=name, spec_hash=made_of, observation=observation)
        self._save()

    def _save(self) -> None:
        if self._path is None:
            return
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(_FILE.dump_json(list(self._entries.values()), indent=2))
            draft.replace(self._path)
        except OSError as error:
            structlog.get_logger(__name__).warning("status not kept", file=str(self._path), reason=str(error))


def spec_hash(resource: Resource) -> str:
    """Identifies a spec by its content."""
    return hashlib.sha256(resource.spec.model_dump_json(by_alias=True).encode()).hexdigest()[:16]


def _load(path: Path | None) -> list[_Entry]:
    """A status file is only a memory: one that cannot be read is started anew."""
    try:
        return _FILE.validate_json(path.read_bytes()) if path else []
    except FileNotFoundError:
        return []
    except (OSError, ValidationError) as error:
        structlog.get_logger(__name__).warning("status not read", file=str(path), reason=str(error))
        return []
