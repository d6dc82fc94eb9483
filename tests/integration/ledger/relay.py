"""A relay before the database that counts what its clients wait for."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

SOCKET = ".s.PGSQL.5432"
SYNC, QUERY, FLUSH = b"S", b"Q", b"H"  # the server answers what it was asked after each of these, and else when it likes


class Relay:
    """Counts the client's messages by type."""

    def __init__(self, server: Path) -> None:
        self.seen: Counter[bytes] = Counter()
        self._server = server

    @property
    def round_trips(self) -> int:
        return self.seen[SYNC] + self.seen[QUERY] + self.seen[FLUSH]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(str(self._server))
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._ask(reader, back))
                group.create_task(self._answer(there, writer))
        for one in (writer, back):
            one.close()

    async def _ask(self, reader: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        length = await reader.readexactly(4)  # the first message has no type
        back.write(length + await reader.readexactly(int.from_bytes(length) - 4))
        while kind := await reader.read(1):
            length = await reader.readexactly(4)
            self.seen[kind] += 1
            back.write(kind + length + await reader.readexactly(int.from_bytes(length) - 4))
        back.write_eof()

    async def _answer(self, there: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await there.read(65536):
            writer.write(data)


@contextlib.asynccontextmanager
async def relayed(url: str, folder: Path) -> AsyncIterator[tuple[Relay, str]]:
    """A relay before the server of ``url``, and the DSN that goes through it."""
    parts = urlsplit(url)
    relay = Relay(Path(parts.query.removeprefix("host=")) / SOCKET)
    server = await asyncio.start_unix_server(relay.serve, str(folder / SOCKET))
    async with server:
        yield relay, parts._replace(query=f"host={folder}").geturl()
