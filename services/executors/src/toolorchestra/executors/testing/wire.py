"""Just enough HTTP/1.1 to play a provider: full control over chunks, broken connections and clients that leave."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from typing_extensions import override

MAX_HEAD_BYTES: Final = 64 * 1024


class ClientGoneError(Exception):
    """The client closed its connection before the answer was complete."""


class HangUpError(Exception):
    """The provider breaks the connection on purpose."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request, read completely. Header names are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON. Raises ValueError."""
        return json.loads(self.body or b"null")


class WatchedReader(asyncio.StreamReader):
    """A reader that tells at once when the other side has closed."""

    def __init__(self) -> None:
        super().__init__(limit=MAX_HEAD_BYTES)
        self.left = asyncio.Event()

    @override
    def feed_eof(self) -> None:
        super().feed_eof()
        self.left.set()

    @override
    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        self.left.set()


class Connection:
    """One client's connection, request by request."""

    def __init__(self, reader: WatchedReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> Request | None:
        """The next request; None when the client is done."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            return None
        first, *lines = head.decode("latin-1").rstrip().split("\r\n")
        method, path, _ = first.split(" ", 2)
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        return Request(method, path.partition("?")[0], headers, body)

    @property
    def gone(self) -> bool:
        """Whether the client has closed its side."""
        return self._reader.left.is_set() or self._writer.is_closing()

    async def pause(self, milliseconds: float) -> None:
        """Wait, but not for a client that has left. Raises ClientGoneError."""
        if milliseconds > 0:
            try:
                async with asyncio.timeout(milliseconds / 1_000):
                    await self._reader.left.wait()
            except TimeoutError:
                return
        else:
            await asyncio.sleep(0)
        if self.gone:
            raise ClientGoneError

    async def hang(self) -> None:
        """Do nothing until the client leaves. Raises ClientGoneError."""
        await self._reader.left.wait()
        raise ClientGoneError

    async def answer(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        """A whole JSON answer."""
        text = json.dumps(body).encode()
        self._head(status, {"content-type": "application/json", "content-length": str(len(text)), **(headers or {})})
        self._writer.write(text)
        await self._drain()

    async def begin_events(self, headers: Mapping[str, str]) -> None:
        """The head of a stream of server-sent events."""
        self._head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked", **headers})
        await self._drain()

    async def event(self, data: Any) -> None:
        """One event. Raises ClientGoneError."""
        text = data if isinstance(data, str) else json.dumps(data)
        await self._chunk(f"data: {text}\n\n".encode())

    async def end_events(self) -> None:
        """The end of the stream."""
        await self._chunk(b"")

    def hang_up(self) -> None:
        """Break the connection without a word."""
        self._writer.transport.abort()

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            return

    async def _chunk(self, data: bytes) -> None:
        self._writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        await self._drain()

    async def _drain(self) -> None:
        try:
            await self._writer.drain()
        except ConnectionError as error:
            raise ClientGoneError from error
        if self.gone:
            raise ClientGoneError

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{n}: {v}" for n, v in headers.items())]
        self._writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
