"""An MCP server over streamable HTTP or stdio, with as many tools as asked for."""

import argparse
import base64
from typing import Any

import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, ImageContent, TextContent, ToolAnnotations
from serving import serve

parser = argparse.ArgumentParser()
parser.add_argument("--stdio", action="store_true")
parser.add_argument("--json", action="store_true", help="answer with JSON instead of events")
parser.add_argument("--tools", type=int, default=0)
parser.add_argument("--describe", default="Adds two numbers.")
parser.add_argument("--need-key", default=None)
options = parser.parse_args()

server = MCPServer("peer", log_level="ERROR")
seen: dict[str, Any] = {"started": 0, "cancelled": 0}


@server.tool(description=options.describe, annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: int) -> int:
    return a + b


@server.tool(name="what.came/here")
def what_came_here(ctx: Context) -> dict[str, Any]:
    meta = dict(ctx.request_context.meta or {})
    headers = dict(ctx.headers or {})
    return {"meta": meta, "key": headers.get("x-key"), "version": ctx.protocol_version}


@server.tool()
def fail() -> str:
    raise ToolError("the moon is in the wrong phase")


@server.tool()
async def slow() -> str:
    seen["started"] += 1
    try:
        await anyio.sleep(30)
    except anyio.get_cancelled_exc_class():
        seen["cancelled"] += 1
        raise
    return "done"


@server.tool()
def counts() -> dict[str, Any]:
    return seen


@server.tool()
def picture() -> CallToolResult:
    data = base64.b64encode(b"x" * 3_000).decode()
    blocks = [TextContent(type="text", text="a dot"), ImageContent(type="image", data=data, mime_type="image/png")]
    return CallToolResult(content=blocks)


@server.tool()
def big(megabytes: int) -> str:
    return "x" * (megabytes * 1024 * 1024)


def numbered(number: int) -> Any:
    def tool() -> str:
        return f"tool {number}"

    return tool


for number in range(options.tools):
    server.add_tool(numbered(number), name=f"numbered{number:04}", description=f"Tool number {number}.")

if options.stdio:
    server.run("stdio")
else:
    serve(server.streamable_http_app(json_response=options.json), "/mcp")
