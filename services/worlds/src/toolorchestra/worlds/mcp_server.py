"""A world as an MCP server over streamable HTTP, stateless: the session of a call stands in its ``_meta``.

    python -m toolorchestra.worlds.mcp_server WORLD [--host HOST] [--port PORT]

It prints its URL when it listens. Its sessions are kept as the plug-in's are (``TOOLORCHESTRA_WORLD_SESSIONS``), so any number
of servers on one machine may serve the same world. It asks for no key: by default it listens on 127.0.0.1 only.
"""

import argparse
import asyncio
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

import uvicorn
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)
from starlette.applications import Starlette

from toolorchestra.core.errors import ToolOrchestraError
from toolorchestra.core.sessions import SESSION_META
from toolorchestra.worlds.serving.executing import text_of
from toolorchestra.worlds.serving.finding import served_world
from toolorchestra.worlds.serving.log import SessionLog, log_of, sessions_folder
from toolorchestra.worlds.session import Call, CallResult
from toolorchestra.worlds.tools import WorldTool
from toolorchestra.worlds.world import World

HOST: Final = "127.0.0.1"
PATH: Final = "/mcp"
OWNER: Final = "_mcp"  # whose sessions these are: the protocol does not say which tenant calls
IDEMPOTENCY_KEY: Final = "toolorchestra.dev/idempotency-key"
GOODBYE_S: Final = 5


class WorldServer:
    """Answers ``tools/list`` and ``tools/call`` of one world."""

    def __init__(self, world: World, log: SessionLog) -> None:
        self._world = world
        self._log = log

    def app(self, *, host: str = HOST) -> Starlette:
        """The server as an ASGI application; ``host`` is where it will listen."""
        server: Server[dict[str, Any]] = Server(
            self._world.name,
            title=self._world.spec.title,
            instructions=self._world.policy or None,
            on_list_tools=self._list,
            on_call_tool=self._call,
        )
        return server.streamable_http_app(streamable_http_path=PATH, json_response=True, stateless_http=True, host=host)

    async def _list(self, _context: ServerRequestContext[Any, Any], _page: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=[mcp_tool(tool) for tool in self._world.tools.values()])

    async def _call(self, _context: ServerRequestContext[Any, Any], asked: CallToolRequestParams) -> CallToolResult:
        """What the tool said. Refusals, and calls outside of a session, are results with ``isError``."""
        meta: Mapping[str, Any] = dict(asked.meta or {})
        try:
            result = await asyncio.to_thread(self._play, Call(asked.name, asked.arguments or {}), meta)
        except ToolOrchestraError as error:
            return _said(str(error), is_error=True)
        return _said(text_of(result.content), is_error=not result.ok)

    def _play(self, call: Call, meta: Mapping[str, Any]) -> CallResult:
        session, key = meta.get(SESSION_META), meta.get(IDEMPOTENCY_KEY)
        return self._log.call(
            self._world, None if session is None else str(session), call, owner=OWNER, key="" if key is None else str(key)
        )


def mcp_tool(tool: WorldTool) -> Tool:
    """A tool as MCP lists it, its side effects as hints."""
    hints = ToolAnnotations(
        read_only_hint=tool.side_effects == "readOnly",
        destructive_hint=tool.side_effects == "destructive",
        idempotent_hint=tool.side_effects != "destructive",
        open_world_hint=False,
    )
    return Tool(name=tool.name, description=tool.description, input_schema=dict(tool.parameters), annotations=hints)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until the process is told to end; 1 and a line on standard error for a world that cannot be served."""
    options = _options(arguments)
    try:
        world = served_world(options.world)
    except ToolOrchestraError as error:
        print(error, file=sys.stderr)  # noqa: T201 (a command's own words)
        return 1
    app = WorldServer(world, log_of(sessions_folder())).app(host=options.host)
    listening = socket.create_server((options.host, options.port), backlog=512)
    print(f"http://{options.host}:{listening.getsockname()[1]}{PATH}", flush=True)  # noqa: T201 (whoever starts it waits for this)
    uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=GOODBYE_S)).run(sockets=[listening])
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m toolorchestra.worlds.mcp_server", description="Serve a world over MCP.")
    parser.add_argument("world", help="folder of the world, or its name")
    parser.add_argument("--host", default=HOST, help=f"address to listen on; default: {HOST}")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; default: a free one")
    return parser.parse_args(arguments)


def _said(text: str, *, is_error: bool) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=is_error)


if __name__ == "__main__":
    sys.exit(main())
