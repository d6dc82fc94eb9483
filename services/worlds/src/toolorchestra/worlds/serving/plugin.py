"""A tool of a world as a plug-in of the platform: ``plugin: {name: world, config: {world: …, tool: …}}``."""

import asyncio
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import override

from toolorchestra.core.errors import InvalidManifestError, ToolOrchestraError
from toolorchestra.core.plugins import PluginContext, PluginResult, Readiness, ToolPlugin
from toolorchestra.core.resources.manifest import describe, first_field
from toolorchestra.worlds.errors import InvalidWorldError
from toolorchestra.worlds.serving.executing import REFUSED, details_of, text_of
from toolorchestra.worlds.serving.finding import served_world
from toolorchestra.worlds.serving.log import SessionLog, log_of, sessions_folder
from toolorchestra.worlds.session import Call, CallResult
from toolorchestra.worlds.world import World


class RefusedCallError(ToolOrchestraError):
    """The tool said no, as the API of a real company would; ``message`` is its JSON."""

    code = REFUSED
    http_status = 422


class WorldConfig(BaseModel):
    """Settings of the plug-in, under ``plugin.config``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    world: str = Field(min_length=1, max_length=1024, description="Folder of the world, or its name.")
    tool: str = Field(min_length=1, max_length=64, description="Name of the tool in the world.")


class WorldToolPlugin(ToolPlugin):
    """One tool; its sessions are those of all tools of the world, in this process and others."""

    def __init__(self, config: WorldConfig, log: SessionLog) -> None:
        self._config = config
        self._log = log

    @override
    async def run(self, arguments: Mapping[str, Any], context: PluginContext) -> PluginResult:
        """The tool's JSON. Raises RefusedCallError, and what ``SessionLog.call`` raises."""
        result = await asyncio.to_thread(self._play, Call(self._config.tool, arguments), context)
        if not result.ok:
            raise RefusedCallError(text_of(result.content))
        return PluginResult(text_of(result.content), details_of(self._world, result))

    @override
    async def check(self, secrets: Mapping[str, str]) -> Readiness:
        """Ready when the world can be loaded and has the tool."""
        del secrets
        try:
            world = await asyncio.to_thread(lambda: self._world)
        except InvalidWorldError as error:
            return Readiness(ready=False, reason="WorldUnavailable", message=str(error))
        if self._config.tool not in world.tools:
            known = ", ".join(world.tools)
            return Readiness(
                ready=False,
                reason="NoSuchTool",
                message=f"the world {world.name!r} has no tool {self._config.tool!r}; correct spec.plugin.config.tool: {known}",
            )
        return Readiness(ready=True, details={"world": world.name, "content": world.content_hash})

    def _play(self, call: Call, context: PluginContext) -> CallResult:
        return self._log.call(self._world, context.session, call, owner=context.tenant, key=context.idempotency_key)

    @cached_property
    def _world(self) -> World:
        """Loaded with the first call: a file that is missing then may be there for the next."""
        return served_world(self._config.world)


def create(config: Mapping[str, Any]) -> WorldToolPlugin:
    """The entry point. Raises InvalidManifestError for settings that do not exist or are missing."""
    try:
        settings = WorldConfig.model_validate(dict(config))
    except ValidationError as error:
        field = f"spec.plugin.config.{first_field(error)}"
        raise InvalidManifestError(f"spec.plugin.config: {describe(error)}", param=field) from error
    return WorldToolPlugin(settings, log_of(sessions_folder()))
