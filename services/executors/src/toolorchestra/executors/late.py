"""The client of MCP servers, whose SDK takes about a second to import, at its first use: a process without one never pays.

The import runs in a thread, so that whatever else the process does goes on.
"""

import asyncio
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from toolorchestra.core.calls import CallRequest, Outcome, SecretReader
from toolorchestra.core.resources import Tool
from toolorchestra.executors.discovery import Discovery
from toolorchestra.kit.egress import EgressGuard

if TYPE_CHECKING:
    from toolorchestra.executors.mcp_sessions import McpSessions


class LateMcp:
    """Discovers and calls tools of MCP servers."""

    def __init__(self, guard: EgressGuard, secrets: SecretReader, *, allow_stdio: bool) -> None:
        self._guard = guard
        self._secrets = secrets
        self._allow_stdio = allow_stdio
        self._opened: McpSessions | None = None
        self._opening = asyncio.Lock()

    async def aclose(self) -> None:
        if self._opened is not None:
            await self._opened.aclose()

    async def discover(self, tool: Tool, *, known: Mapping[str, str] | None = None) -> Discovery:
        """The server's tools; see ``McpDiscovery``."""
        sessions = await self._sessions()
        from toolorchestra.executors.mcp import McpDiscovery

        return await McpDiscovery(sessions).discover(tool, known=known)

    async def execute(self, call: CallRequest) -> Outcome:
        """The outcome of a call; see ``McpExecutor``."""
        sessions = await self._sessions()
        from toolorchestra.executors.mcp import McpExecutor

        return await McpExecutor(sessions).execute(call)

    async def _sessions(self) -> "McpSessions":
        async with self._opening:
            if self._opened is None:
                await asyncio.to_thread(import_module, "toolorchestra.executors.mcp")
                from toolorchestra.executors.mcp_sessions import McpSessions

                self._opened = McpSessions(self._guard, self._secrets, allow_stdio=self._allow_stdio)
            return self._opened
