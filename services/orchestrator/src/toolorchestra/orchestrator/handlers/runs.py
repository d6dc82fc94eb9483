"""Runs: look, follow, cancel, judge, delete."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query

from toolorchestra.orchestrator.handlers.context import Body, Caller, Parts
from toolorchestra.orchestrator.handlers.streaming import EventStream

router = APIRouter(prefix="/v1/runs")


@router.get("", summary="Runs of the tenant, newest first")
async def listing(
    caller: Caller, factory: Parts, limit: Annotated[int, Query(ge=1, le=200)] = 20, after: str | None = None
) -> dict[str, Any]:
    return await factory.runs().listing(caller, limit=limit, after=after)


@router.get("/{run_id}", summary="One run, explained")
async def show(run_id: str, caller: Caller, factory: Parts) -> dict[str, Any]:
    return await factory.runs().show(caller, run_id)


@router.get("/{run_id}/events", summary="Facts of a run as they happen; resumable by Last-Event-ID")
async def events(run_id: str, caller: Caller, factory: Parts, last_event_id: Annotated[int, Header(ge=0)] = 0) -> EventStream:
    runs = factory.runs()
    await runs.require(caller, run_id)
    return EventStream(runs.events(caller, run_id, after=last_event_id))


@router.post("/{run_id}/cancel", summary="End a run; what is under way is broken off")
async def cancel(run_id: str, caller: Caller, factory: Parts) -> dict[str, Any]:
    return await factory.runs().cancel(caller, run_id)


@router.post("/{run_id}/feedback", summary="Say how good the answer was")
async def feedback(run_id: str, body: Body, caller: Caller, factory: Parts) -> dict[str, Any]:
    return await factory.runs().feedback(caller, run_id, body)


@router.delete("/{run_id}", summary="Delete what was said; what was paid stays")
async def delete(run_id: str, caller: Caller, factory: Parts) -> dict[str, Any]:
    return await factory.runs().delete(caller, run_id)
