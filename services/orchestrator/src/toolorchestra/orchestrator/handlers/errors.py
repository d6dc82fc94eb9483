"""Errors at the edge: one place maps the platform's errors to the OpenAI error body."""

from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from toolorchestra.core.errors import (
    BudgetExceededError,
    InvalidRequestError,
    NotFoundError,
    RateLimitedError,
    ToolOrchestraError,
)
from toolorchestra.core.loop.journal import DeniedError
from toolorchestra.core.openai import error_body
from toolorchestra.orchestrator.factory import Factory
from toolorchestra.orchestrator.services.passed import PassedCallError

logger = structlog.get_logger(__name__)

SLOTS = "slots"  # the unit of a refusal that passes by itself


def install(app: FastAPI) -> None:
    """Register the handlers."""
    app.add_exception_handler(ToolOrchestraError, on_ours)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(Exception, on_unexpected)


async def on_ours(request: Request, error: Exception) -> JSONResponse:
    """An error raised on purpose. What is refused for good, or failed at a price, must not be retried: one would be three.

    A process that stops closes the connection with its refusal: a retry on the same one would come back to it.
    """
    assert isinstance(error, ToolOrchestraError)  # noqa: S101 - registered for this type only
    headers = {}
    factory = getattr(request.app.state, "factory", None)  # not there before the start
    if isinstance(factory, Factory) and factory.draining:
        headers["connection"] = "close"
    if isinstance(error, DeniedError) and error.denial.unit == SLOTS:
        error = RateLimitedError(error.message, hint="send it again when one of them has ended")
    if isinstance(error, BudgetExceededError) or (isinstance(error, PassedCallError) and error.final):
        headers["x-should-retry"] = "false"
    return JSONResponse(error_body(error), status_code=error.http_status, headers=headers)


async def on_validation(_: Request, error: Exception) -> JSONResponse:
    """A path or query parameter that FastAPI refused."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type only
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:])
    return JSONResponse(error_body(InvalidRequestError(f"{field}: {first['msg']}", param=field)), status_code=400)


async def on_http(request: Request, error: Exception) -> JSONResponse:
    """Unknown paths and methods."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type only
    unknown = error.status_code == HTTPStatus.NOT_FOUND
    text = f"{request.method} {request.url.path} does not exist"
    body = NotFoundError(text) if unknown else InvalidRequestError(str(error.detail))
    return JSONResponse(error_body(body), status_code=error.status_code, headers=error.headers)


async def on_unexpected(request: Request, error: Exception) -> JSONResponse:
    """A fault of ours: logged whole, answered without detail."""
    logger.error("unexpected_error", path=request.url.path, exc_info=error)
    return JSONResponse(error_body(ToolOrchestraError("an unexpected error happened; it was logged")), status_code=500)
