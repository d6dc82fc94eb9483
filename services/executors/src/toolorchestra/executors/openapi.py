"""Tools described by an OpenAPI document: discovery of its operations, and calls of one."""

import asyncio
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2

from toolorchestra.core.calls import CallRequest, Outcome, SecretReader
from toolorchestra.core.errors import (
    InvalidArgumentsError,
    InvalidManifestError,
    ToolOrchestraError,
    UpstreamError,
)
from toolorchestra.core.functions import ToolTarget
from toolorchestra.core.resources import Tool
from toolorchestra.core.resources.tool import OpenApiBackend
from toolorchestra.executors.discovery import Discovery, unique
from toolorchestra.executors.headers import read_headers
from toolorchestra.executors.http import HttpSender
from toolorchestra.executors.openapi_document import check_document, find_operations, parse_document
from toolorchestra.executors.outcomes import failure
from toolorchestra.executors.reading import decode, read_capped
from toolorchestra.executors.templates import HttpRequest, as_text, fits_header, segment
from toolorchestra.kit.egress import EgressGuard

MAX_DOCUMENT_BYTES: Final = 8 * 1024 * 1024
_HEADERS_FIELD: Final = "spec.openapi.headers"


class OpenApiDiscovery:
    """Reads documents and finds the operations that a Tool offers."""

    def __init__(self, guard: EgressGuard, secrets: SecretReader) -> None:
        self._guard = guard
        self._secrets = secrets

    async def discover(self, tool: Tool) -> Discovery:
        """The tool's operations and what is wrong with others. Raises ToolOrchestraError for the whole document."""
        backend = tool.spec.openapi
        if backend is None:
            raise InvalidManifestError(f"{tool.metadata.name} has no openapi backend", param="spec.openapi")
        document = await self._document(tool, backend)
        operations, problems = find_operations(
            document,
            tool=tool.metadata.name,
            wanted=backend.operations,
            base_url=backend.base_url,
            source=backend.url,
        )
        kept, twice = unique(operations)
        return Discovery(kept, (*problems, *(f"two operations are called {name!r}" for name in twice)))

    async def _document(self, tool: Tool, backend: OpenApiBackend) -> Mapping[str, Any]:
        if backend.url is None:
            return check_document(backend.document)
        text = await self._fetch(backend.url, await self._headers(tool, backend))
        # A long YAML document takes seconds to parse; the event loop must not wait for it.
        return await asyncio.to_thread(parse_document, text)

    async def _headers(self, tool: Tool, backend: OpenApiBackend) -> dict[str, str]:
        """The tool's headers, but only for a document that lies on the API's own server: they may hold its key."""
        if backend.base_url is None or _origin(backend.base_url) != _origin(backend.url or ""):
            return {}
        return await read_headers(backend.headers, self._secrets, tool.metadata.namespace, field=_HEADERS_FIELD)

    async def _fetch(self, url: str, headers: Mapping[str, str]) -> str:
        try:
            async with self._guard.client(headers) as client, client.stream("GET", url) as response:
                body, cut = await read_capped(response, MAX_DOCUMENT_BYTES)
        except (httpx2.RequestError, httpx2.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise UpstreamError(f"the document at {url} could not be read: {reason}") from error
        if not response.is_success:
            raise UpstreamError(f"the document at {url} could not be read: HTTP {response.status_code}")
        if cut:
            raise InvalidManifestError(f"the document at {url} is longer than {MAX_DOCUMENT_BYTES} bytes")
        return decode(body, response.charset_encoding, complete=True)


class OpenApiExecutor:
    """Calls operations that discovery found."""

    def __init__(self, sender: HttpSender, secrets: SecretReader) -> None:
        self._sender = sender
        self._secrets = secrets

    async def execute(self, call: CallRequest) -> Outcome:
        """The outcome of the operation's request."""
        target, backend = _backend(call)
        try:
            request, own = build_request(target.details, call.arguments)
            headers = await read_headers(backend.headers, self._secrets, target.namespace, field=_HEADERS_FIELD)
        except ToolOrchestraError as error:
            return failure(error, sent=False)
        return await self._sender.send(
            request, call, headers={**own, **headers}, max_bytes=target.spec.max_result_bytes, result=None
        )


def build_request(details: Mapping[str, Any], arguments: Mapping[str, Any]) -> tuple[HttpRequest, dict[str, str]]:
    """The request and its header parameters. Raises InvalidArgumentsError, or InvalidManifestError without details."""
    if not details.get("url") or not details.get("method"):
        raise InvalidManifestError("the operation was never discovered", param="spec.openapi", hint="probe the tool")
    url, headers = str(details["url"]), dict[str, str]()
    query: list[tuple[str, str]] = []
    for name, place in details.get("arguments", {}).items():
        if arguments.get(name) is None:
            continue
        match place["in"]:
            case "path":
                url = url.replace(f"{{{place['name']}}}", _in_path(arguments[name], param=name))
            case "query":
                query.extend(_in_query(arguments[name], place))
            case _:
                headers[place["name"]] = _in_header(arguments[name], param=name)
    if "{" in url:
        raise InvalidArgumentsError(f"an argument of the path {urlsplit(url).path} is missing", hint="add it")
    content = _content(details.get("body"), arguments)
    return HttpRequest(method=str(details["method"]), url=url, query=tuple(query), content=content), headers


def _backend(call: CallRequest) -> tuple[ToolTarget, OpenApiBackend]:
    target = call.function.target
    if not isinstance(target, ToolTarget) or target.spec.openapi is None:
        raise InvalidManifestError(f"{call.function.name} has no openapi backend", param="spec.openapi")
    return target, target.spec.openapi


def _in_path(value: Any, *, param: str) -> str:
    items = value if isinstance(value, list) else [value]
    return ",".join(segment(item, param=param) for item in items)


def _in_query(value: Any, place: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    name, style = str(place["name"]), place["style"]
    if style == "json" or not isinstance(value, list | Mapping):
        yield name, as_text(value)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield (f"{name}[{key}]" if style == "deepObject" else str(key)), as_text(inner)
    elif place["explode"]:
        yield from ((name, as_text(item)) for item in value)
    else:
        yield name, {"spaceDelimited": " ", "pipeDelimited": "|"}.get(style, ",").join(as_text(v) for v in value)


def _in_header(value: Any, *, param: str) -> str:
    text = ",".join(as_text(v) for v in value) if isinstance(value, list) else as_text(value)
    if not fits_header(text):
        raise InvalidArgumentsError(f"the argument {param!r} does not fit into a header", param=param)
    return text


def _content(body: str | list[str] | None, arguments: Mapping[str, Any]) -> bytes | None:
    if body is None:
        return None
    if isinstance(body, str):
        return _json(arguments[body]) if body in arguments else None
    return _json({name: arguments[name] for name in body if name in arguments})


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc
