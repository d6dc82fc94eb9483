"""The peer of the chat benchmark: the least that an OpenAI-compatible proxy can be, FastAPI and httpx, without money or records."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with httpx.AsyncClient(timeout=60) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/v1/chat/completions")
async def forward(request: Request) -> Response:
    body = await request.body()
    answer = await request.app.state.client.post(
        f"{os.environ['UPSTREAM']}/chat/completions", content=body, headers={"content-type": "application/json"}
    )
    return Response(answer.content, status_code=answer.status_code, media_type="application/json")


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
