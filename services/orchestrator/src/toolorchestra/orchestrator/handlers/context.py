"""What every handler needs: the factory, the caller, and the body."""

import json
from typing import Annotated, Any

from fastapi import Depends, Request

from toolorchestra.core.errors import InvalidRequestError, UnauthenticatedError, UnavailableError
from toolorchestra.core.storable import clean_json
from toolorchestra.orchestrator.factory import Factory
from toolorchestra.orchestrator.services.principal import Principal
from toolorchestra.orchestrator.storage.reviews import Action


async def factory_of(request: Request) -> Factory:
    """The process's factory. Asynchronous, because a plain function would be run in a thread."""
    factory = request.app.state.factory
    if not isinstance(factory, Factory):
        raise TypeError("the application was started without its lifespan")
    return factory


Parts = Annotated[Factory, Depends(factory_of)]


async def principal_of(request: Request, factory: Parts) -> Principal:
    """The authenticated caller. Raises UnavailableError when this process stops, or begins: another will answer."""
    if factory.draining:
        raise UnavailableError("this process is stopping", hint="send the request again")
    if (reason := factory.not_ready()) is not None:
        raise UnavailableError(reason, hint="send the request again")
    return await factory.authenticator.authenticate(bearer(request))


Caller = Annotated[Principal, Depends(principal_of)]


def may(verb: str, resource: str) -> Any:
    """Asks whether the bearer may do this in the tenant of the path; the parameter is the author's name for records."""

    async def author_of(request: Request, tenant: str, factory: Parts) -> str:
        return await factory.authority.admit(bearer(request), Action(verb, resource, tenant))

    return Depends(author_of)


def bearer(request: Request) -> str:
    """The credential of the request. Raises UnauthenticatedError."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not value.strip():
        raise UnauthenticatedError("no API key was sent", hint="send Authorization: Bearer to_….…")
    return value.strip()


def parse_body(raw: bytes) -> Any:
    """JSON as it can be stored and sent on. Raises InvalidRequestError."""
    try:
        return clean_json(json.loads(raw))
    except ValueError as error:
        raise InvalidRequestError(f"the body is not valid JSON: {error}") from error
    except RecursionError as error:
        raise InvalidRequestError("the body is nested too deep") from error


async def json_body(request: Request, factory: Parts) -> Any:
    """The decoded body, of bounded size."""
    raw = bytearray()
    async for piece in request.stream():
        raw += piece
        if len(raw) > factory.settings.max_body_bytes:
            raise InvalidRequestError(f"the body is longer than {factory.settings.max_body_bytes} bytes")
    return parse_body(bytes(raw))


Body = Annotated[Any, Depends(json_body)]
