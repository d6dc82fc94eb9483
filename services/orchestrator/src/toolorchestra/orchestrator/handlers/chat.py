"""``POST /v1/chat/completions``: an Orchestrator runs the loop, an ExpertModel is a metered pass-through."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from toolorchestra.core.errors import UnavailableError
from toolorchestra.core.money import format_usd
from toolorchestra.core.openai import EXTENSION, parse_request
from toolorchestra.orchestrator.factory import Factory
from toolorchestra.orchestrator.handlers.context import Body, Caller, Parts
from toolorchestra.orchestrator.handlers.streaming import EventStream
from toolorchestra.orchestrator.services.answering import Answer
from toolorchestra.orchestrator.services.chat import ClientGoneError
from toolorchestra.orchestrator.services.repeating import Attempt

router = APIRouter()
T = TypeVar("T")


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
        return await _pass_through(request, factory, await factory.passthrough().start(caller, body, attempt))
    wish = parse_request(body)
    started = await chat.start(caller, wish, attempt)
    headers = {"x-toolorchestra-run-id": started.run_id}
    if wish.stream:
        return EventStream(chat.stream(started, wish), headers=headers, close=started.leave)
    try:
        state, answer = await _while_waiting(request, factory, chat.finish(started))
    finally:
        started.let_go()
    headers["x-toolorchestra-cost-usd"] = format_usd(state.spent_nano_usd)
    left = await chat.remaining_nano_usd(caller)
    if left is not None:
        headers["x-toolorchestra-remaining-usd"] = format_usd(left)
    return JSONResponse(answer, headers=headers)


@router.post("/v1/plan", summary="What would be tried, and what it could cost; nothing is spent")
async def plan(body: Body, caller: Caller, factory: Parts) -> dict[str, Any]:
    return await factory.chat().plan(caller, parse_request(body))


async def _pass_through(request: Request, factory: Factory, answer: Answer) -> Response:
    headers = {"x-toolorchestra-run-id": answer.envelope.run_id}
    streams = False
    try:
        if answer.envelope.wish.stream:
            await _while_waiting(request, factory, answer.begun())  # so that a refusal keeps its status
            streams = True
            return EventStream(answer.events(), headers=headers, close=answer.leave)
        body = await _while_waiting(request, factory, answer.whole())
    finally:
        if not streams:
            answer.let_go()
    return JSONResponse(body, headers=headers | {"x-toolorchestra-cost-usd": body[EXTENSION]["cost_usd"]})


async def _while_waiting(request: Request, factory: Factory, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``. Raises ClientGoneError if the client goes away first, UnavailableError if the process does."""
    answer = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    closing = asyncio.ensure_future(factory.closing.wait())
    try:
        await asyncio.wait({answer, gone, closing}, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done() and closing.done():
            raise UnavailableError("this process is stopping", hint="send the request again: it attaches to the run")
        if not answer.done():
            raise ClientGoneError("the client went away")
        return answer.result()
    finally:
        for task in (answer, gone, closing):
            task.cancel()
        await asyncio.gather(answer, gone, closing, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
