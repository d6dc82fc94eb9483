"""What discovery of operations shares: names that can be function names, and the hash that pins a schema."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from toolorchestra.core.registry import DiscoveredOperation
from toolorchestra.core.resources import Tool

MAX_FUNCTION_NAME: Final = 64
SEPARATOR: Final = "__"
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_-]+")
_HASH_CHARACTERS: Final = 8


def operation_name(tool: str, remote: str) -> str:
    """A remote operation's name as the second half of ``tool__operation``: allowed characters, at most 64 in all."""
    name = _NOT_IN_NAMES.sub("_", remote).strip("_") or "operation"
    room = MAX_FUNCTION_NAME - len(tool) - len(SEPARATOR)
    if len(name) <= room:
        return name
    digest = hashlib.sha256(remote.encode()).hexdigest()[:_HASH_CHARACTERS]
    return f"{name[: max(0, room - _HASH_CHARACTERS - 1)]}_{digest}"


def schema_hash(name: str, description: str, parameters: Mapping[str, Any]) -> str:
    """The SHA-256 of what a model is told about an operation, as canonical JSON."""
    told = {"name": name, "description": description, "inputSchema": parameters}
    text = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def unique(operations: Iterable[DiscoveredOperation]) -> tuple[tuple[DiscoveredOperation, ...], tuple[str, ...]]:
    """The operations with names of their own, and the names that were taken twice."""
    found: dict[str, DiscoveredOperation] = {}
    twice: list[str] = []
    for operation in operations:
        if operation.name in found:
            twice.append(operation.name)
        else:
            found[operation.name] = operation
    return tuple(found.values()), tuple(twice)


@dataclass(frozen=True, slots=True)
class Discovery:
    """What a backend offers: callable operations, problems with others, and those whose schema changed (name → hash)."""

    operations: tuple[DiscoveredOperation, ...] = ()
    problems: tuple[str, ...] = ()
    drifted: Mapping[str, str] = field(default_factory=dict)


class Discovers(Protocol):
    """Lists the operations of a tool's backend."""

    async def discover(self, tool: Tool, *, known: Mapping[str, str] | None = None) -> Discovery:
        """What the backend offers. ``known`` holds the hash first seen per remote name. Raises ToolOrchestraError."""
        ...
