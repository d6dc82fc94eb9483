"""Is a server ready? One short exchange of bytes each, so that starting a part need not load a client library first."""

import asyncio
import struct
from collections.abc import Awaitable
from pathlib import Path
from typing import Final, TypeAlias

_PROTOCOL_3: Final = 196608
_TIMEOUT_S: Final = 2
_Connecting: TypeAlias = Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]


async def postgres_answers(socket: Path, *, user: str, database: str) -> bool:
    """Whether PostgreSQL lets this user into this database without asking for more."""
    settings = f"user\0{user}\0database\0{database}\0\0".encode()
    hello = struct.pack("!ii", len(settings) + 8, _PROTOCOL_3) + settings
    return await _replies(asyncio.open_unix_connection(socket), hello, b"R")


async def valkey_answers(host: str, port: int, *, password: str) -> bool:
    """Whether Valkey takes this password and has its data loaded."""
    hello = f"AUTH {password}\r\nPING\r\n".encode()
    return await _replies(asyncio.open_connection(host, port), hello, b"+OK\r\n+PONG\r\n")


async def file_is_there(file: Path) -> bool:
    """Whether a program has made the file by which it says that it is ready."""
    return await asyncio.to_thread(file.exists)


async def http_answers(host: str, port: int, *, path: str) -> bool:
    """Whether an HTTP server answers this path with 200."""
    hello = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode()
    return await _replies(asyncio.open_connection(host, port), hello, b"HTTP/1.1 200")


async def _replies(connecting: _Connecting, hello: bytes, expected: bytes) -> bool:
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            reader, writer = await connecting
            try:
                writer.write(hello)
                return await reader.readexactly(len(expected)) == expected
            finally:
                writer.close()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False
