"""The plug-in interface of tools written in Python.

A plug-in is a distribution with an entry point in the group ``toolorchestra.tools`` that names a factory
``(config: Mapping[str, Any]) -> ToolPlugin``. It knows ``toolorchestra.core`` only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias

from pydantic import JsonValue

ENTRY_POINT_GROUP: Final = "toolorchestra.tools"


@dataclass(frozen=True, slots=True)
class PluginContext:
    """What a plug-in may know of the call: who, how long, and the secrets its Tool names."""

    call_id: str
    tenant: str
    timeout_ms: int
    idempotency_key: str
    session: str | None = None
    secrets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PluginResult:
    """Text or JSON for the model, and details for people (never shown to a model)."""

    content: JsonValue
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a tool can be called now; ``reason`` is CamelCase, ``message`` says what to do."""

    ready: bool
    reason: str = "Ready"
    message: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)  # e.g. {"sandboxRung": "process"}


class ToolPlugin(Protocol):
    """One tool. ``run`` raises ToolOrchestraError (e.g. InvalidArgumentsError) for what the model should read."""

    async def run(self, arguments: Mapping[str, Any], context: PluginContext) -> PluginResult:
        """Do the work; obey ``context.timeout_ms`` and cancellation."""
        ...

    async def check(self, secrets: Mapping[str, str]) -> Readiness:
        """Cheap test whether the tool would work now. ``secrets`` holds those that could be read."""
        ...


class PluginFactory(Protocol):
    """The entry point: builds the plug-in from the Tool's ``plugin.config``."""

    def __call__(self, config: Mapping[str, Any]) -> ToolPlugin:
        """Raises InvalidManifestError for settings it does not understand."""
        ...


JsonObject: TypeAlias = Mapping[str, JsonValue]
