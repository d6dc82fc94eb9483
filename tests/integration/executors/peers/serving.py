"""Serves an ASGI app on a free loopback port, prints its URL, and ends when standard input closes."""

import socket
import sys
import threading

import uvicorn
from starlette.types import ASGIApp


def serve(app: ASGIApp, path: str = "") -> None:
    listening = socket.create_server(("127.0.0.1", 0), backlog=512)
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=0))
    threading.Thread(target=_end_with_stdin, args=(server,), daemon=True).start()
    print(f"http://127.0.0.1:{listening.getsockname()[1]}{path}", flush=True)
    server.run(sockets=[listening])


def _end_with_stdin(server: uvicorn.Server) -> None:
    sys.stdin.buffer.read()
    server.should_exit = True
