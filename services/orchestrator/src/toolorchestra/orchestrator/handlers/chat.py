"""``POST /v1/chat/completions``: an Orchestrator runs the loop, an ExpertModel is a metered pass-through."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from toolorchestra.core.loop.state import State
from toolorchestra.core.money import format_usd
from toolorchestra.core.openai import parse_request
from toolorchestra.orchestrator.handlers.context import Body, Caller, Parts
from toolorchestra.orchestrator.handlers.streaming import EventStream
from toolorchestra.orchestrator.services.chat import Attempt, ClientGoneError, Started

router = APIRouter()


@router.post("/v1/chat/completions", summary="Answer a conversation")
async def create(request: Request, body: Body, caller: Caller, factory: Parts) -> Response:
    attempt = Attempt(
        idempotency_key=request.headers.get("idempotency-key"),
        retry=request.headers.get("x-stainless-retry-count", "0") != "0",
        preference_words=request.headers.get("x-toolorchestra-preference"),
        max_cost_usd=request.headers.get("x-toolorchestra-max-cost-usd"),
    )
    chat = factory.chat()
    if chat.is_expert(caller, body):
        reply = await factory.passthrough().start(caller, body, attempt)
        if reply.stream is not None:
            return EventStream(reply.stream.events(), headers=reply.headers, close=reply.stream.close)
        return JSONResponse(reply.body, headers=reply.headers)
    wish = parse_request(body)
    started = await chat.start(caller, wish, attempt)
    headers = {"x-toolorchestra-run-id": started.run_id}
    if wish.stream:
        return EventStream(chat.stream(started, wish), headers=headers, close=started.leave)
    state, answer = await _unless_disconnected(request, started, chat.finish(started))
    headers["x-toolorchestra-cost-usd"] = format_usd(state.spent_nano_usd)
    left = await chat.remaining_nano_usd(caller)
    if left is not None:
        headers["x-toolorchestra-remaining-usd"] = format_usd(left)
    return JSONResponse(answer, headers=headers)


@router.post("/v1/plan", summary="What would be tried, and what it could cost; nothing is spent")
async def plan(body: Body, caller: Caller, factory: Parts) -> dict[str, Any]:
    return await factory.chat().plan(caller, parse_request(body))


async def _unless_disconnected(
    request: Request, started: Started, work: Coroutine[Any, Any, tuple[State, dict[str, Any]]]
) -> tuple[State, dict[str, Any]]:
    """The result of ``work``; the run is let go of when the client goes away first."""
    answer = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            raise ClientGoneError("the client went away")
        return answer.result()
    finally:
        started.let_go()
        for task in (answer, gone):
            task.cancel()
        await asyncio.gather(answer, gone, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
