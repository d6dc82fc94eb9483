"""Short sessions with MCP servers, and what their many ways to fail mean.

A session lives for one call or one listing. With servers of the stateless protocol it costs nothing: the call is the first
request. Older servers get the handshake they need. All traffic over HTTP goes through the egress guard.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from typing import Final, TextIO

import httpx2
from mcp import Client, MCPError, StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import Implementation
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from toolorchestra.core.calls import SecretReader
from toolorchestra.core.errors import (
    ForbiddenError,
    InvalidManifestError,
    ToolOrchestraError,
    UpstreamError,
    UpstreamTimeoutError,
)
from toolorchestra.core.resources.tool import McpBackend, McpStdio
from toolorchestra.executors.headers import read_headers
from toolorchestra.kit.egress import EgressGuard, EgressLimits

CONNECT_S: Final = 10.0
GOODBYE_S: Final = 0.5  # for a server that wants to be told that its session ends
END_S: Final = 6.0  # a local server is asked to end, then made to
START_S: Final = 30.0  # a local server may have to be installed first
MAX_EVENT_BYTES: Final = 8 * 1024 * 1024
MAX_LOG_CHARACTERS: Final = 1_000
STDIO_HINT: Final = "use an MCP server with a url; local processes exist only in manifests read from files"
_LIMITS: Final = EgressLimits(total_s=None)  # the call's own deadline bounds the time
_CLIENT: Final = Implementation(name="toolorchestra", version="1")


class McpUnreachableError(UpstreamError):
    """No request of the session can have left."""

    code = "mcp_unreachable"


class McpSessions:
    """Opens sessions. ``allow_stdio`` is for manifests read from files only: it starts processes on this machine."""

    def __init__(self, guard: EgressGuard, secrets: SecretReader, *, allow_stdio: bool = False) -> None:
        self._guard = guard
        self._secrets = secrets
        self._allow_stdio = allow_stdio
        self._transport = guard.transport(_LIMITS)

    async def aclose(self) -> None:
        await self._transport.aclose()

    @asynccontextmanager
    async def open(self, backend: McpBackend, namespace: str, *, version: str | None = None) -> AsyncIterator[Client]:
        """A session with the server; ``version`` is the protocol that discovery found, None negotiates.

        Raises ToolOrchestraError for all that goes wrong with the server, TimeoutError at the caller's deadline.
        """
        with translated():
            if backend.stdio is not None:
                async with self._local(backend.stdio) as client:
                    yield client
            else:
                headers = await read_headers(backend.headers, self._secrets, namespace, field="spec.mcp.headers")
                async with self._remote(backend.url or "", headers, version) as client:
                    yield client

    @asynccontextmanager
    async def _remote(self, url: str, headers: Mapping[str, str], version: str | None) -> AsyncIterator[Client]:
        timeout = httpx2.Timeout(None, connect=CONNECT_S)
        async with self._guard.client(headers, timeout, transport=self._transport) as http:
            transport = streamable_http_client(url, http_client=http, max_sse_event_size=MAX_EVENT_BYTES)
            client = Client(transport, mode=_mode(version), client_info=_CLIENT, cache=None)
            async with _bounded_exit(GOODBYE_S) as stack:
                await _enter(stack, client, CONNECT_S)
                yield client

    @asynccontextmanager
    async def _local(self, server: McpStdio) -> AsyncIterator[Client]:
        if not self._allow_stdio:
            raise ForbiddenError("MCP servers over stdio are not allowed here", param="spec.mcp.stdio", hint=STDIO_HINT)
        parameters = StdioServerParameters(command=server.command, args=server.args, env=server.env)
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
            client = Client(stdio_client(parameters, errlog=log), mode="auto", client_info=_CLIENT, cache=None)
            async with _bounded_exit(END_S) as stack:
                await _enter(stack, client, START_S, log)
                yield client


@contextmanager
def translated() -> Iterator[None]:
    """Turns whatever the SDK and its task groups raise into an error of ours; our own and TimeoutError pass."""
    try:
        yield
    except (ToolOrchestraError, TimeoutError):
        raise
    except Exception as error:  # the SDK's failures arrive in groups of any kind
        raise meaning(error) from error


def meaning(error: BaseException) -> ToolOrchestraError:
    """What a failure of a session means; an error of ours inside a group comes out as it is."""
    found = _inner(error)
    match found:
        case ToolOrchestraError():
            return found
        case httpx2.ConnectError() | httpx2.ConnectTimeout() | httpx2.PoolTimeout():
            return McpUnreachableError(f"the MCP server cannot be reached: {_said(found)}")
        case httpx2.InvalidURL() | httpx2.UnsupportedProtocol():
            return InvalidManifestError(f"the MCP server's url is not a URL: {found}", param="spec.mcp.url")
        case OSError():
            return McpUnreachableError(f"the MCP server could not be started: {found}", hint="check command and args")
        case MCPError():
            return UpstreamError(f"the MCP server answered: {found.message}")
        case ValidationError():
            return UpstreamError("the MCP server's answer does not follow the protocol")
        case _:
            return UpstreamError(f"the session with the MCP server broke: {_said(found)}")


async def _enter(stack: AsyncExitStack, client: Client, seconds: float, log: TextIO | None = None) -> None:
    """Enters the client within ``seconds``; what a local server wrote to ``log`` explains why it could not be."""
    try:
        async with asyncio.timeout(seconds):
            await stack.enter_async_context(client)
    except TimeoutError as error:
        text = f"the MCP server did not answer the handshake within {seconds:g} s"
        raise UpstreamTimeoutError(text, hint=_tail(log)) from error
    except Exception as error:  # the SDK's failures arrive in groups of any kind
        found = meaning(error)
        found.hint = found.hint or _tail(log)
        raise found from error


@asynccontextmanager
async def _bounded_exit(seconds: float) -> AsyncIterator[AsyncExitStack]:
    """A stack whose exit has a deadline: a server that is told that its session ends may never answer."""
    stack = AsyncExitStack()
    try:
        yield stack
    except BaseException as error:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await stack.__aexit__(type(error), error, error.__traceback__)
        raise
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stack.aclose()


def _tail(log: TextIO | None) -> str | None:
    if log is None:
        return None
    log.seek(max(0, log.seek(0, os.SEEK_END) - MAX_LOG_CHARACTERS))
    text = log.read().strip()
    return f"it wrote: {text}" if text else None


def _mode(version: str | None) -> str:
    if version is None:
        return "auto"
    return version if version in MODERN_PROTOCOL_VERSIONS else "legacy"


def _inner(error: BaseException) -> BaseException:
    """The first cause inside groups, ours before others."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    inner = [_inner(one) for one in error.exceptions]
    return next((one for one in inner if isinstance(one, ToolOrchestraError)), inner[0])


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__
