"""The orchestrator's HTTP application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.metadata import version
from time import monotonic

from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.trace import SpanKind
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from toolorchestra.kit.telemetry import extract
from toolorchestra.orchestrator.handlers import admin, chat, errors, health, models, runs
from toolorchestra.orchestrator.process import open_process
from toolorchestra.orchestrator.settings import OrchestratorSettings


def create_app(settings: OrchestratorSettings) -> FastAPI:
    """The application; its lifespan opens and closes everything."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_process(settings) as factory:
            app.state.factory = factory
            yield

    app = FastAPI(
        title="ToolOrchestra",
        version=version("toolorchestra-orchestrator"),
        summary="An OpenAI-compatible API whose models manage tools and other models, under a budget.",
        lifespan=lifespan,
        docs_url="/docs",
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # ``Instrumented`` makes one span per request
    )
    for module in (chat, runs, models, admin, health):
        app.include_router(module.router)
    errors.install(app)
    app.add_middleware(Instrumented)
    return app


class Instrumented:
    """A server span and metrics per request. Plain ASGI, so that streams pass untouched."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._tracer = trace.get_tracer("toolorchestra.orchestrator")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in ("/healthz", "/readyz", "/metrics"):
            await self._app(scope, receive, send)
            return
        began = monotonic()
        status: int | None = None

        async def count(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                _observe(scope, status, monotonic() - began)
            await send(message)

        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        name = f"{scope['method']} {scope['path']}"
        with self._tracer.start_as_current_span(name, context=extract(headers), kind=SpanKind.SERVER) as span:
            span.set_attribute("http.request.method", scope["method"])
            try:
                await self._app(scope, receive, count)
            finally:
                if status is None:  # the handler of unexpected errors stands outside and answers with 500
                    status = int(HTTPStatus.INTERNAL_SERVER_ERROR)
                    _observe(scope, status, monotonic() - began)
                span.set_attribute("http.response.status_code", status)


def _observe(scope: Scope, status: int, seconds: float) -> None:
    """Routes, not paths, are labels: paths are without number."""
    factory = getattr(scope["app"].state, "factory", None)
    route = getattr(scope.get("route"), "path", "unknown")
    if factory is not None:
        factory.metrics.requests.labels(route, status).inc()
        factory.metrics.latency.labels(route).observe(seconds)
