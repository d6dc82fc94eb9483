"""Servers with the manners that users run into."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Final

HTML: Final = "<!doctype html><title>Welcome to nginx!</title>"
OPENAPI: Final = {
    "openapi": "3.1.0",
    "info": {"title": "Stock", "version": "1"},
    "servers": [{"url": "/"}],
    "paths": {"/items": {"get": {"operationId": "listItems", "summary": "All items."}}},
}
SWAGGER: Final = {"swagger": "2.0", "info": {"title": "Stock", "version": "1"}, "paths": {}}


class _Peer(BaseHTTPRequestHandler):
    """The first part of the path says how it answers."""

    def do_GET(self) -> None:
        manner, _, rest = self.path.lstrip("/").partition("/")
        self.rfile.read(int(self.headers.get("content-length", 0)))
        match manner:
            case "answers":
                self._answer(int(rest.partition("/")[0]), "text/plain", "as asked")
            case "html":
                self._answer(200, "text/html", HTML)
            case "moved":
                self._answer(307, "text/plain", "", location="http://10.0.0.1/v1/models")
            case "short":
                self._answer(200, "application/json", json.dumps({"data": [{"id": "counting", "max_model_len": 2_048}]}))
            case "openapi.json":
                self._answer(200, "application/json", json.dumps(OPENAPI))
            case "swagger.json":
                self._answer(200, "application/json", json.dumps(SWAGGER))
            case "away.json":
                away = OPENAPI | {"servers": [{"url": "http://127.0.0.1:9"}]}
                self._answer(200, "application/json", json.dumps(away))
            case _:
                self._answer(404, "text/plain", "not found")

    do_POST = do_GET

    def _answer(self, status: int, media_type: str, text: str, **headers: str) -> None:
        body = text.encode()
        self.send_response(status)
        for name, value in {"content-type": media_type, "content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what it is asked is no news."""


@contextmanager
def mannered_peer() -> Iterator[str]:
    """Its URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Peer) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()
