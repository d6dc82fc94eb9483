"""The egress guard: the one way in which a URL that a tenant wrote is ever called.

A name is resolved once, every address it has is checked, and the connection goes to a checked address under the original
name (Host and SNI). Nothing resolves the name a second time, so an answer that changes between check and connect has no
effect. Redirects are not followed; the size of an answer and the time for all of it are capped.

The HTTP library is httpx2, the one that the MCP client speaks, so one guarded client serves tools, models and MCP servers.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias, cast

import anyio
import httpcore2
import httpx2
from typing_extensions import override

from toolorchestra.core.errors import EgressDeniedError, InvalidRequestError, UpstreamError
from toolorchestra.kit.addresses import Address, openable, parse_opening, read_address, what_is, write_entry

Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]

USER_AGENT: Final = "toolorchestra"
RESOLVE_AGAIN_S: Final = 0.2


class ResponseTooLargeError(httpx2.RequestError):
    """The answer is longer than the guard lets in."""


class ResponseTooSlowError(httpx2.ReadTimeout):
    """The whole answer took longer than the guard waits."""


@dataclass(frozen=True, slots=True)
class EgressLimits:
    """Caps of one client: bytes of one answer, seconds for all of it (None: no cap), open connections."""

    max_bytes: int = 16 * 1024 * 1024
    total_s: float | None = 300.0
    max_connections: int = 1_000


async def resolve(host: str, port: int) -> Sequence[str]:
    """All addresses of ``host`` by the system's resolver, without blocking. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(cast("str", entry[4][0]) for entry in found))


class EgressGuard:
    """Decides which addresses may be called, and gives clients that can call no others."""

    def __init__(
        self, allow: Sequence[str] = (), *, resolver: Resolver = resolve, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        self._openings = tuple(parse_opening(text) for text in allow)
        self._resolver = resolver
        self._given_ssl_context = ssl_context

    def client(
        self,
        headers: Mapping[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
        auth: httpx2.Auth | None = None,
        *,
        limits: EgressLimits | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> httpx2.AsyncClient:
        """A client that can reach checked addresses only; close it after use.

        ``transport`` from ``transport()`` is shared, not closed. Calls raise EgressDeniedError beside httpx2's own errors.
        """
        return httpx2.AsyncClient(
            headers={"user-agent": USER_AGENT, "accept-encoding": "identity", **(headers or {})},
            timeout=timeout or httpx2.Timeout(30.0),
            auth=auth,
            transport=self.transport(limits) if transport is None else _Borrowed(transport),
            follow_redirects=False,
            trust_env=False,
        )

    def opened(self, *allow: str) -> "EgressGuard":
        """A guard that lets these through too, written as in ``egress.allow``; this one stays as it is."""
        other = EgressGuard(allow, resolver=self._resolver, ssl_context=self.ssl_context)
        other._openings += self._openings
        return other

    def transport(self, limits: EgressLimits | None = None) -> "GuardedTransport":
        """A pool of connections to share between clients."""
        return GuardedTransport(self, limits or EgressLimits())

    async def check(self, url: str) -> None:
        """Check a URL without calling it.

        Raises EgressDeniedError, UpstreamError if its name has no address, InvalidRequestError if it is no URL.
        """
        host, port = _target(_parse(url))
        try:
            await self.addresses(host, port)
        except OSError as error:
            raise UpstreamError(f"the name {host!r} cannot be resolved: {error}") from error

    async def reach(self, url: str, *, timeout_s: float = 5.0) -> None:
        """Open a connection to the URL's server, with TLS for https, and close it. Raises as ``check`` does."""
        parsed = _parse(url)
        host, port = _target(parsed)
        try:
            stream = await _CheckedNetwork(self).connect_tcp(host, port, timeout=timeout_s)
            try:
                if parsed.scheme == "https":
                    await stream.start_tls(self.ssl_context, host, timeout=timeout_s)
            finally:
                await stream.aclose()
        except (httpcore2.NetworkError, httpcore2.TimeoutException) as error:
            reason = str(error) or type(error).__name__
            raise UpstreamError(f"{host}:{port} cannot be reached: {reason}") from error

    async def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of ``host``, all checked. Raises EgressDeniedError, or OSError for an unknown name."""
        found = await self._resolved(host, port)
        for text in found:
            self._check(host.lower().rstrip("."), port, read_address(text))
        return found

    async def _resolved(self, host: str, port: int) -> list[str]:
        """Ask again once: a name server that is just being replaced denies every name, and nothing has been sent yet."""
        try:
            return list(await self._resolver(host, port))
        except OSError:
            await asyncio.sleep(RESOLVE_AGAIN_S)
            return list(await self._resolver(host, port))

    def _check(self, host: str, port: int, address: Address) -> None:
        what = what_is(address)
        if what is None or any(opening.opens(host, address, port, what) for opening in self._openings):
            return
        same = host == str(address)
        raise EgressDeniedError(
            f"{host} is {what}" if same else f"{host} has the address {address}, {what}",
            param="egress.allow",
            hint=_opening_hint(write_entry(address, port)) if openable(what) else "it cannot be opened; use another URL",
        )

    @cached_property
    def ssl_context(self) -> ssl.SSLContext:
        """One context for all clients: building it reads every root certificate."""
        return self._given_ssl_context or httpx2.create_ssl_context()


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Sends requests over checked connections and caps what comes back."""

    def __init__(self, guard: EgressGuard, limits: EgressLimits) -> None:
        self._limits = limits
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=guard.ssl_context,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_connections,
            keepalive_expiry=30.0,
            network_backend=_CheckedNetwork(guard),
        )

    @override
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        _target(request.url)
        deadline = _Deadline(self._limits.total_s)
        with _as_httpx2():
            async with deadline.limit():
                answer = await self._pool.handle_async_request(_to_core(request))
        response = httpx2.Response(
            answer.status,
            headers=answer.headers,
            stream=_CappedStream(cast("AsyncIterable[bytes]", answer.stream), self._limits.max_bytes, deadline),
            extensions=answer.extensions,
        )
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            # A few compressed bytes can unfold to gigabytes, and the cap counts what arrives.
            await response.aclose()
            raise httpx2.DecodingError("the answer is compressed although the request accepts identity only")
        return response

    @override
    async def aclose(self) -> None:
        await self._pool.aclose()


class _Borrowed(httpx2.AsyncBaseTransport):
    """A transport that belongs to somebody else: closing the client leaves it open."""

    def __init__(self, transport: httpx2.AsyncBaseTransport) -> None:
        self._transport = transport

    @override
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return await self._transport.handle_async_request(request)


class _CheckedNetwork(httpcore2.AsyncNetworkBackend):
    """Opens connections to checked addresses; httpcore2 keeps the name for Host and SNI."""

    def __init__(self, guard: EgressGuard) -> None:
        self._guard = guard
        self._network = httpcore2.AnyIOBackend()

    @override
    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        try:
            with anyio.fail_after(timeout):
                addresses = await self._guard.addresses(host, port)
                return await self._first(addresses, port, local_address, socket_options)
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout(f"{host}:{port} did not answer within {timeout:g} s") from error
        except OSError as error:
            raise httpcore2.ConnectError(f"the name {host!r} cannot be resolved: {error}") from error

    async def _first(
        self,
        addresses: Sequence[str],
        port: int,
        local_address: str | None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None,
    ) -> httpcore2.AsyncNetworkStream:
        last: httpcore2.ConnectError | None = None
        for address in addresses:
            try:
                return await self._network.connect_tcp(
                    address, port, local_address=local_address, socket_options=socket_options
                )
            except httpcore2.ConnectError as error:
                last = error
        raise last or httpcore2.ConnectError("the name has no address")

    @override
    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        raise EgressDeniedError(f"unix sockets are not called: {path}")

    @override
    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Deadline:
    """One moment until which a whole exchange must be over."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._at = None if seconds is None else asyncio.get_running_loop().time() + seconds

    @asynccontextmanager
    async def limit(self) -> AsyncIterator[None]:
        """Raises ResponseTooSlowError once the moment has passed."""
        try:
            async with asyncio.timeout_at(self._at):
                yield
        except TimeoutError as error:
            raise ResponseTooSlowError(f"the answer was not complete after {self._seconds:g} s") from error


class _CappedStream(httpx2.AsyncByteStream):
    """A body that ends with an error when it grows too long or takes too long."""

    def __init__(self, stream: AsyncIterable[bytes], max_bytes: int, deadline: _Deadline) -> None:
        self._stream = stream
        self._left = max_bytes
        self._max_bytes = max_bytes
        self._deadline = deadline

    @override
    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts = aiter(self._stream)
        while (part := await self._next(parts)) is not None:
            self._left -= len(part)
            if self._left < 0:
                raise ResponseTooLargeError(f"the answer is longer than {self._max_bytes} bytes")
            yield part

    async def _next(self, parts: AsyncIterator[bytes]) -> bytes | None:
        with _as_httpx2():
            async with self._deadline.limit():
                return await anext(parts, None)

    @override
    async def aclose(self) -> None:
        close = getattr(self._stream, "aclose", None)
        if close is not None:
            await close()


# Specific classes first; httpcore2 and httpx2 use the same names for the same events.
_ERRORS: Final[tuple[tuple[type[Exception], type[httpx2.RequestError]], ...]] = (
    (httpcore2.ConnectTimeout, httpx2.ConnectTimeout),
    (httpcore2.ReadTimeout, httpx2.ReadTimeout),
    (httpcore2.WriteTimeout, httpx2.WriteTimeout),
    (httpcore2.PoolTimeout, httpx2.PoolTimeout),
    (httpcore2.ConnectError, httpx2.ConnectError),
    (httpcore2.ReadError, httpx2.ReadError),
    (httpcore2.WriteError, httpx2.WriteError),
    (httpcore2.UnsupportedProtocol, httpx2.UnsupportedProtocol),
    (httpcore2.LocalProtocolError, httpx2.LocalProtocolError),
    (httpcore2.RemoteProtocolError, httpx2.RemoteProtocolError),
    (ssl.SSLError, httpx2.ReadError),
    (anyio.EndOfStream, httpx2.ReadError),
)


@contextmanager
def _as_httpx2() -> Iterator[None]:
    try:
        yield
    except tuple(known for known, _ in _ERRORS) as error:
        meant = next(meant for known, meant in _ERRORS if isinstance(error, known))
        raise meant(str(error)) from error


def _to_core(request: httpx2.Request) -> httpcore2.Request:
    return httpcore2.Request(
        method=request.method,
        url=httpcore2.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        ),
        headers=request.headers.raw,
        content=request.stream,
        extensions=request.extensions,
    )


def _opening_hint(entry: str) -> str:
    return (
        f'a platform admin can open it: add "{entry}" to egress.allow (chart), '
        f"or start with `toolorchestra up --allow-egress {entry}` (this machine)"
    )


def _parse(url: str) -> httpx2.URL:
    try:
        return httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise InvalidRequestError(f"not a URL: {error}", param="url", hint='write "https://host/path"') from error


def _target(url: httpx2.URL) -> tuple[str, int]:
    """Host and port of a URL. Raises EgressDeniedError unless it is http or https with a host."""
    if url.scheme not in ("http", "https") or not url.host:
        raise EgressDeniedError(
            f"{url.copy_with(userinfo=b'', query=None)} is not an http or https URL with a host",
            param="url",
            hint='write "https://host/path"',
        )
    return url.host, url.port or (443 if url.scheme == "https" else 80)
