"""An HTTP server with good and bad manners, that keeps count of what it was asked and of what it sent."""

import asyncio
import gzip
import os
from collections import Counter
from collections.abc import AsyncIterator

import yaml
from serving import serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
COUNTS: Counter[str] = Counter()
BIG = 10 * 1024 * 1024


async def echo(request: Request) -> Response:
    COUNTS["echo"] += 1
    body = await request.body()
    return JSONResponse(
        {
            "method": request.method,
            "path": request.url.path,
            "rawPath": request.scope["raw_path"].decode(),
            "query": request.query_params.multi_items(),
            "headers": dict(request.headers),
            "body": body.decode() or None,
        }
    )


async def big(_: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(BIG // 65_536):
            COUNTS["bytes"] += 65_536
            yield b"0123456789abcdef" * 4_096
            await asyncio.sleep(0)

    return StreamingResponse(parts(), media_type="text/plain")


async def drip(_: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        while True:
            yield b"drop "
            await asyncio.sleep(0.02)

    return StreamingResponse(parts(), media_type="text/plain")


async def broken(_: Request) -> Response:
    async def parts() -> AsyncIterator[bytes]:
        yield b"so far"
        await asyncio.sleep(0.01)
        raise RuntimeError("on purpose")

    return StreamingResponse(parts(), media_type="text/plain")


async def hang(request: Request) -> Response:
    COUNTS["hanging"] += 1
    while not await request.is_disconnected():
        await asyncio.sleep(0.01)
    COUNTS["left"] += 1
    return PlainTextResponse("too late")


async def status(request: Request) -> Response:
    COUNTS[f"status{request.path_params['code']}"] += 1
    headers = {"retry-after": request.query_params["after"]} if "after" in request.query_params else {}
    return PlainTextResponse("as asked", request.path_params["code"], headers=headers)


async def flaky(request: Request) -> Response:
    key = request.query_params["key"]
    COUNTS[key] += 1
    if COUNTS[key] <= request.path_params["times"]:
        return PlainTextResponse("not yet", 503)
    return PlainTextResponse(f"after {COUNTS[key]}")


async def redirect(request: Request) -> Response:
    return RedirectResponse(request.query_params["to"], 307)


async def binary(_: Request) -> Response:
    return Response(os.urandom(1_000) + b"\xff\xfe\x00", media_type="application/octet-stream")


async def image(_: Request) -> Response:
    return Response(b"\x89PNG\r\n", media_type="image/png")


async def gzipped(_: Request) -> Response:
    return Response(gzip.compress(b"0" * BIG), media_type="text/plain", headers={"content-encoding": "gzip"})


async def nested(_: Request) -> Response:
    return JSONResponse({"data": {"items": [{"name": "first"}, {"name": "zweites ü"}]}})


async def legacy_mcp(request: Request) -> Response:
    """An MCP server of the old protocol whose event channel is idle and whose goodbye never comes."""
    if request.method != "POST":
        COUNTS[f"legacy{request.method}"] += 1
        return await hang(request)
    message = await request.json()
    match message.get("method"):
        case "initialize":
            info = {"name": "legacy", "version": "1"}
            result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}
        case "tools/list":
            result = {"tools": [{"name": "old", "description": "Old.", "inputSchema": {"type": "object"}}]}
        case "tools/call":
            result = {"content": [{"type": "text", "text": "from the old one"}]}
        case method if "id" in message:
            error = {"code": -32601, "message": f"unknown method {method}"}
            return JSONResponse({"jsonrpc": "2.0", "id": message["id"], "error": error})
        case _:
            return Response(status_code=202)
    headers = {"mcp-session-id": "s1"}
    return JSONResponse({"jsonrpc": "2.0", "id": message["id"], "result": result}, headers=headers)


async def stats(_: Request) -> Response:
    return JSONResponse(dict(COUNTS))


async def openapi(request: Request) -> Response:
    COUNTS["documentKey:" + request.headers.get("x-key", "none")] += 1
    item = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "size": {"type": "integer"}}}
    number = {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Items", "version": "1"},
        "servers": [{"url": "/echo"}],
        "components": {"schemas": {"Item": item}, "parameters": {"Id": number}},
        "paths": {
            "/items/{id}": {
                "get": {
                    "operationId": "getItem",
                    "summary": "One item.",
                    "parameters": [{"$ref": "#/components/parameters/Id"}],
                },
            },
            "/items": {
                "post": {
                    "operationId": "addItem",
                    "requestBody": {
                        "required": True,
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Item"}}},
                    },
                },
            },
            **{f"/many/{number}": {"get": {"operationId": f"many{number}"}} for number in range(500)},
        },
    }
    if request.url.path.endswith(".yaml"):
        return PlainTextResponse(yaml.safe_dump(document), media_type="application/yaml")
    return JSONResponse(document)


serve(
    Starlette(
        routes=[
            Route("/echo", echo, methods=METHODS),
            Route("/echo/{rest:path}", echo, methods=METHODS),
            Route("/big", big),
            Route("/drip", drip),
            Route("/broken", broken),
            Route("/hang", hang, methods=METHODS),
            Route("/status/{code:int}", status, methods=METHODS),
            Route("/flaky/{times:int}", flaky, methods=METHODS),
            Route("/redirect", redirect, methods=METHODS),
            Route("/binary", binary),
            Route("/image", image),
            Route("/gzip", gzipped),
            Route("/nested", nested),
            Route("/legacy", legacy_mcp, methods=METHODS),
            Route("/stats", stats),
            Route("/openapi.json", openapi),
            Route("/openapi.yaml", openapi),
        ]
    )
)
