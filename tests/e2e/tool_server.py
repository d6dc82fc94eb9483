"""Tools behind HTTP, run in a pod: two that calculate, and others that take their time and note who came."""

import json
import re
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PATIENCE_S = 0.6
PRODUCT = re.compile(r"(\d+)\s*\*\s*(\d+)")
SUM = re.compile(r"(\d+)\s*\+\s*(\d+)")
VISITS: list[dict[str, str | None]] = []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        url = urlsplit(self.path)
        words = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/visits":
            return self.answer(200, json.dumps(VISITS))
        if url.path == "/multiply":
            found = PRODUCT.search(words.get("expression", ""))
            return self.answer(200, str(int(found[1]) * int(found[2]))) if found else self.answer(400, "write: 2 * 3")
        if url.path == "/add":
            found = SUM.search(words.get("expression", ""))
            return self.answer(200, str(int(found[1]) + int(found[2]))) if found else self.answer(400, "write: 2 + 3")
        VISITS.append({"path": url.path, "n": words.get("n"), "key": self.headers.get("idempotency-key")})
        time.sleep(PATIENCE_S)
        return self.answer(200, f"done for {words.get('n')}")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", "0")))
        self.do_GET()

    def answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("content-type", "text/plain; charset=utf-8")
        self.send_header("content-length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())


ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Handler).serve_forever()
