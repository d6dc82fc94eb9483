"""An HTTP server that is not what users take it for; the first part of the path says how it answers."""

from typing import Any

from serving import serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

METHODS = ["GET", "POST"]
OPENAPI: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {"title": "Stock", "version": "1"},
    "servers": [{"url": "/"}],
    "paths": {"/items": {"get": {"operationId": "listItems", "summary": "All items."}}},
}
DOCUMENTS: dict[str, dict[str, Any]] = {
    "openapi": OPENAPI,
    "swagger": {"swagger": "2.0", "info": {"title": "Stock", "version": "1"}, "paths": {}},
    "away": OPENAPI | {"servers": [{"url": "http://127.0.0.1:9"}]},
}


async def page(_: Request) -> Response:
    return HTMLResponse("<!doctype html><title>Welcome to nginx!</title>")


async def answers(request: Request) -> Response:
    return PlainTextResponse("as asked", request.path_params["code"])


async def moved(_: Request) -> Response:
    return RedirectResponse("http://10.0.0.1/v1/models", 307)


async def short(_: Request) -> Response:
    """A model server that takes few tokens."""
    return JSONResponse({"data": [{"id": "counting", "max_model_len": 2_048}]})


async def document(request: Request) -> Response:
    found = DOCUMENTS.get(request.path_params["name"])
    return JSONResponse(found) if found else PlainTextResponse("not found", 404)


serve(
    Starlette(
        routes=[
            Route("/html", page, methods=METHODS),
            Route("/html/{rest:path}", page, methods=METHODS),
            Route("/answers/{code:int}/{rest:path}", answers, methods=METHODS),
            Route("/moved/{rest:path}", moved),
            Route("/short/v1/models", short),
            Route("/{name}.json", document),
        ]
    )
)
