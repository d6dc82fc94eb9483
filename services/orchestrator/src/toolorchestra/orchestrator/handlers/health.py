"""Liveness, readiness and metrics."""

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from toolorchestra.orchestrator.handlers.context import Parts

router = APIRouter()


@router.get("/healthz", summary="The event loop runs")
async def alive() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/readyz", summary="The database answers and its schema fits; the process is not draining")
async def ready(factory: Parts) -> JSONResponse:
    problem = await factory.readiness()
    body = {"status": "ok"} if problem is None else {"status": "unavailable", "reason": problem}
    return JSONResponse(body, status_code=200 if problem is None else 503)


@router.get("/metrics", summary="Prometheus metrics")
async def metrics(factory: Parts) -> Response:
    return Response(generate_latest(factory.metrics.registry), media_type=CONTENT_TYPE_LATEST)
