"""HTTP tools on the loopback interface that count what they are asked, and misbehave where their path says so."""

import contextlib
import socket
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

BIG = 10 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Visit:
    """One request: where to, for what (the argument ``n``), and under which Idempotency-Key."""

    path: str
    n: str
    key: str | None


@dataclass
class _Book:
    visits: list[Visit] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 128
    book: _Book

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that left is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, *args: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        url = urlsplit(self.path)
        n = parse_qs(url.query).get("n", [""])[0]
        self.rfile.read(int(self.headers.get("content-length", "0")))
        self.server.book.visits.append(Visit(url.path, n, self.headers.get("idempotency-key")))
        if url.path.startswith("/hang") and not self.server.book.released.is_set():
            self.server.book.released.wait()
            return
        match url.path:
            case "/big":
                self._answer(200, b"0123456789abcdef" * (BIG // 16))
            case "/binary":
                self._answer(200, b"\x00\xff\xfe\x80" * 256, "application/octet-stream")
            case "/broken":
                self._answer(500, b"it broke")
            case _:
                self._answer(200, f"result of {n}".encode())

    def _answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)


class ToolPeer:
    """Serves until closed. ``/hang…`` answers nobody before ``release``.

    A ``deaf`` peer takes no connection before ``hear``: whoever calls it waits inside connect, and nothing has left yet.
    """

    def __init__(self, *, deaf: bool = False) -> None:
        self._book = _Book()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.book = self._book
        self._fillers: list[socket.socket] = []
        self._thread: threading.Thread | None = None
        self.port = int(self._server.server_address[1])
        if deaf:
            self._fill()
        else:
            self._serve()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def visits(self) -> list[Visit]:
        return list(self._book.visits)

    def count(self, n: str, path: str | None = None) -> int:
        """How often it was asked for ``n``."""
        return sum(visit.n == n and path in (None, visit.path) for visit in self.visits)

    def keys(self, n: str) -> Counter[str | None]:
        """The Idempotency-Keys of the requests for ``n``."""
        return Counter(visit.key for visit in self.visits if visit.n == n)

    def release(self) -> None:
        """Let those go who hang, without an answer; from now on nobody hangs."""
        self._book.released.set()

    def hear(self) -> None:
        """Take connections from now on."""
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()
        self._server.socket.listen(128)
        self._serve()

    def close(self) -> None:
        self.release()
        for filler in self._fillers:
            filler.close()
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _serve(self) -> None:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="tool-peer")
        self._thread.start()

    def _fill(self) -> None:
        """Fill the queue of connections that wait to be accepted; the kernel then ignores further ones."""
        self._server.socket.listen(0)
        while True:
            filler = socket.socket()
            filler.settimeout(0.3)
            try:
                filler.connect(("127.0.0.1", self.port))
            except TimeoutError:
                filler.close()
                return
            self._fillers.append(filler)
