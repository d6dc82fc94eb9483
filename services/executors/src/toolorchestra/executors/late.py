"""Clients whose SDKs take about a second each to import, imported at their first use: a process that needs none never pays.

The import runs in a thread, so that whatever else the process does goes on. A process that will need one says so at its
start, with ``open``.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from importlib import import_module
from typing import TYPE_CHECKING

from opentelemetry import trace

from toolorchestra.core.calls import CallRequest, Outcome, SecretReader
from toolorchestra.core.chat import ChatReply, ChatRequest, CompletionReply, CompletionRequest
from toolorchestra.core.resources import Tool
from toolorchestra.executors.assembly import Chunk
from toolorchestra.executors.discovery import Discovery
from toolorchestra.executors.slots import Slots
from toolorchestra.kit.egress import EgressGuard

if TYPE_CHECKING:
    from toolorchestra.executors.chat import ChatClient
    from toolorchestra.executors.mcp_sessions import McpSessions


class LateModels:
    """Calls models; see ``toolorchestra.core.chat.ChatModels`` for what it raises."""

    def __init__(self, guard: EgressGuard, secrets: SecretReader, slots: Slots, tracer: trace.Tracer | None) -> None:
        self._guard = guard
        self._secrets = secrets
        self._slots = slots
        self._tracer = tracer
        self._client: ChatClient | None = None
        self._opening = asyncio.Lock()

    async def open(self) -> "ChatClient":
        """The client itself."""
        async with self._opening:
            if self._client is None:
                await asyncio.to_thread(import_module, "toolorchestra.executors.chat")
                from toolorchestra.executors.chat import ChatClient

                self._client = ChatClient(self._guard, self._secrets, slots=self._slots, tracer=self._tracer)
            return self._client

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def chat(self, request: ChatRequest) -> ChatReply:
        """One chat completion, returned whole."""
        return await (await self.open()).chat(request)

    async def complete(self, request: CompletionRequest) -> CompletionReply:
        """One raw completion."""
        return await (await self.open()).complete(request)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        """The chunks of one chat completion. Use it within ``contextlib.aclosing``."""
        async with aclosing((await self.open()).stream(request)) as chunks:
            async for chunk in chunks:
                yield chunk


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
