"""A small platform that speaks the HTTP contract on loopback, so that commands can be tried without the real one.

Answers are built by the platform's own wire code. What a question says decides what happens to it; see ``Completions``.
As a program it stands in for ``python -m toolorchestra.orchestrator``: address and secrets come from the environment.
"""

import json
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from tests.unit.cli.samples import ANSWER, TRACE_ID, run_body
from toolorchestra.core.openai import Completion, usage_body
from toolorchestra.core.pricing import Usage

Json = dict[str, Any]
RUN_ID: Final = "run-1"
TOOLS: Final = [
    {
        "name": "calculator",
        "kind": "Tool",
        "description": "Computes one expression.",
        "execution": "inline",
        "side_effects": "readOnly",
        "price": {"per_call": "0.00", "per_second": "0.00"},
        "ready": True,
        "reason": "Ready",
        "message": "",
    },
    {
        "name": "web-search",
        "kind": "Tool",
        "description": "Searches the web.",
        "execution": "inline",
        "side_effects": "readOnly",
        "price": {"per_call": "0.008", "per_second": "0.00"},
        "ready": False,
        "reason": "SecretMissing",
        "message": "set the environment variable TAVILY_API_KEY",
    },
]
PROBLEM: Final = {"source": "manifests/broken.yaml", "message": "spec.htp: unknown field; check its spelling or remove it"}


class RefusalError(Exception):
    """An OpenAI error body with its status."""

    def __init__(self, status: int, message: str, code: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}


@dataclass
class World:
    """What the server knows and what was asked of it."""

    admin_token: str = "admin-token"
    keys: dict[str, Json] = field(default_factory=lambda: {"to_1.secret": {"id": "1", "name": "first"}})
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    problems: list[Json] = field(default_factory=list)
    tools: list[Json] = field(default_factory=lambda: list(TOOLS))
    cancelled: threading.Event = field(default_factory=threading.Event)
    deleted: set[str] = field(default_factory=set)
    rejected_keys: set[str] = field(default_factory=set)

    kept: Path | None = None  # where keys outlive the server, as in a database

    def add_key(self, tenant: str, wish: Json) -> Json:
        number = str(len(self.keys) + 1)
        self.keys[f"to_{number}.secret"] = {"id": number, "tenant": tenant, **wish}
        if self.kept is not None:
            self.kept.write_text(json.dumps(self.keys))
        return {"id": number, "key": f"to_{number}.secret", **wish}

    def bodies(self, path: str) -> list[Any]:
        return [body for _, seen, body in self.requests if seen.partition("?")[0] == path]


class ContractHandler(BaseHTTPRequestHandler):
    """One request. ``server.world`` is shared by all."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def log_message(self, *arguments: Any) -> None:
        pass

    @property
    def world(self) -> World:
        return self.server.world  # type: ignore[attr-defined]

    def _answer(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        raw = self.rfile.read(length)
        body = json.loads(raw) if raw else None
        self.world.requests.append((self.command, self.path, body))
        try:
            self._route(body)
        except RefusalError as refusal:
            self._json(refusal.body, refusal.status)

    def _route(self, body: Any) -> None:
        url = urlsplit(self.path)
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        query = parse_qs(url.query)
        if parts == ["readyz"]:
            return self._json({"status": "ok"})
        if parts[0] == "admin":
            return self._admin(parts[3], parts[4:], query, body)
        return self._tenant(parts[1:], query, body)

    def _tenant(self, parts: list[str], query: dict[str, list[str]], body: Any) -> None:
        key = self.headers.get("authorization", "").removeprefix("Bearer ")
        if key not in self.world.keys or key in self.world.rejected_keys:
            raise RefusalError(401, "the API key is unknown", "invalid_api_key")
        match (self.command, *parts):
            case ("GET", "models"):
                self._json({"object": "list", "data": MODELS})
            case ("POST", "chat", "completions"):
                Completions(self, body).answer()
            case ("POST", "plan"):
                self._json(PLAN)
            case ("GET", "tools") | ("POST", "tools", "check"):
                self._json({"object": "list", "data": self.world.tools, "problems": self.world.problems})
            case ("POST", "tools", name, "call"):
                self._json(self._call(name, body))
            case ("GET", "runs"):
                runs = [] if RUN_ID in self.world.deleted else [run_body()]
                self._json({"data": runs[: int(query.get("limit", ["20"])[0])], "has_more": bool(runs)})
            case ("GET", "runs", run) if run == RUN_ID and run not in self.world.deleted:
                self._json(run_body())
            case ("POST", "runs", run, "cancel") if run == RUN_ID:
                self.world.cancelled.set()
                self._json({"id": run, "status": "running"})
            case ("DELETE", "runs", run) if run == RUN_ID:
                self.world.deleted.add(run)
                self._json({"id": run, "deleted": True})
            case ("GET" | "POST" | "DELETE", "runs", run, *_):
                raise RefusalError(404, f"there is no run {run!r}", "not_found")
            case _:
                raise RefusalError(404, f"{self.command} {self.path} does not exist", "not_found")

    def _call(self, name: str, body: Any) -> Json:
        if name != "calculator":
            raise RefusalError(404, f"there is no function {name!r}", "not_found")
        good = body["arguments"].get("expression") == "17 * 23"
        content = "391" if good else "the expression cannot be read"
        status = "ok" if good else "error"
        return {"status": status, "content": content, "cost_usd": "0.00", "latency_ms": 3, "run_id": RUN_ID}

    def _admin(self, tenant: str, parts: list[str], query: dict[str, list[str]], body: Any) -> None:
        if self.headers.get("authorization") != f"Bearer {self.world.admin_token}":
            raise RefusalError(403, "this needs the administrator's token", "forbidden")
        match (self.command, *parts):
            case ("GET", "keys"):
                self._json({"data": list(self.world.keys.values())})
            case ("POST", "keys"):
                self._json(self.world.add_key(tenant, body), 201)
            case ("DELETE", "keys", key):
                self.world.rejected_keys.add(f"to_{key}.secret")
                self._json({"id": key})
            case ("GET", "usage") if query.get("format") == ["csv"]:
                self._send(200, "text/csv", b"BilledCost,BillingCurrency\n0.0012,USD\n")
            case ("GET", "usage"):
                group = {name: f"some {name}" for name in query.get("group_by", [])}
                spent = {"spent_usd": "0.0012", "estimated_usd": "0.00", "calls": 3, "runs": 2}
                decided = {"spent_usd": "0.0034", "estimated_usd": "0.00", "calls": 5, "runs": 2}
                managed = [{**group, "function": None, **decided}] if "function" in group else []
                self._json({"data": [{**group, **spent}, *managed]})
            case ("GET", "budget"):
                self._json(BUDGET)
            case _:
                raise RefusalError(404, f"{self.command} {self.path} does not exist", "not_found")

    def _json(self, body: Any, status: int = 200) -> None:
        self._send(status, "application/json", json.dumps(body).encode())

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def open_stream(self) -> None:
        """Begin server-sent events; the connection's end is the stream's."""
        self.close_connection = True
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("x-toolorchestra-run-id", RUN_ID)
        self.send_header("connection", "close")
        self.end_headers()

    def write_event(self, data: str) -> None:
        self.wfile.write(f"data: {data}\n\n".encode())
        self.wfile.flush()


class Completions:
    """A streamed answer. The question's first word decides: broke, cut, fails, waits, unsure; anything else is answered."""

    def __init__(self, handler: ContractHandler, body: Json) -> None:
        self._handler = handler
        self._body = body
        self._word = body["messages"][-1]["content"].split()[0]
        self._chunks = Completion(RUN_ID, body["model"], 1_764_000_000)

    def answer(self) -> None:
        if self._body["model"] == "nobody":
            raise RefusalError(404, "the model 'nobody' does not exist", "model_not_found")
        if self._word == "broke":
            raise RefusalError(429, "day: $1.00 of $1.00 are spent", "insufficient_quota")
        self._handler.open_stream()
        for chunk in self._events():
            self._handler.write_event(chunk if isinstance(chunk, str) else json.dumps(chunk))

    def _events(self) -> Iterator[Json | str]:
        yield self._chunks.first()
        yield self._chunks.reasoning("→ local(question='…')  (the cheapest expert)\n")
        if self._word == "waits":
            self._handler.world.cancelled.wait(20)
            return
        yield self._chunks.reasoning("  ✓ 1234 ms, $0.0000012\n")
        for piece in (ANSWER[:10], ANSWER[10:]):
            yield self._chunks.content(piece)
        if self._word == "cut":
            return
        if self._word == "fails":
            yield {"error": {"message": "the model's server went away", "type": "server_error", "code": "upstream_error"}}
        yield self._chunks.finish("stop", self._summary()) | {"usage": usage_body(Usage(252, 27))}
        yield "[DONE]"

    def _summary(self) -> Json:
        status = "failed" if self._word == "unsure" else "completed"
        return {
            "run_id": RUN_ID,
            "status": status,
            "cost_usd": "0.0003512",
            "cost_nano_usd": 351_200,
            "turns": 3,
            "tools": ["local"],
            "trace_id": TRACE_ID,
            "reason": "answered",
        }


def _window(unit: str, **amounts: Any) -> Json:
    bounds = {"start": "2026-11-22T00:00:00+00:00", "end": "2026-11-23T00:00:00+00:00"}
    return {"unit": unit, "window": "day", "time_zone": "UTC", **amounts, **bounds}


MODELS: Final = [
    {
        "id": "toolorchestra",
        "object": "model",
        "created": 0,
        "owned_by": "default",
        "toolorchestra": {"kind": "Orchestrator", "policy": "baseline:cascade", "is_baseline": True},
    },
    {
        "id": "local",
        "object": "model",
        "created": 0,
        "owned_by": "default",
        "toolorchestra": {"kind": "ExpertModel", "price_usd_per_million_tokens": {"input": "0.00", "output": "0.00"}},
    },
]
PLAN: Final = {
    "object": "toolorchestra.plan",
    "model": "toolorchestra",
    "policy": "baseline:cascade",
    "limits": {"max_turns": 12, "timeout_ms": 300_000, "max_cost_nano_usd": 50_000_000},
    "preference": {"words": "cheap"},
    "closing_reserve_usd": "0.00",
    "candidates": [
        {"function": "calculator", "worst_case_nano_usd": 0, "typical_latency_ms": 1},
        {"function": "gpt-5-mini", "worst_case_nano_usd": 8_200_000, "typical_latency_ms": 4_000},
    ],
    "first": {"calls": [{"function": "calculator", "arguments": {"expression": "17*23"}, "reason": "it is an expression"}]},
}
BUDGET: Final = {
    "object": "list",
    "tenant": "default",
    "data": [
        _window("usd", limit="2.00", spent="0.0003512", held="0.00", over="0.00", remaining="1.9996488"),
        _window("requests", limit=1_000, spent=4, held=0, over=0, remaining=996),
    ],
}


class ContractServer(ThreadingHTTPServer):
    """The server; ``world`` is what tests look at."""

    daemon_threads = True

    def __init__(self, port: int = 0, world: World | None = None) -> None:
        super().__init__(("127.0.0.1", port), ContractHandler)
        self.world = world or World()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle of an answer is one of the tests."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


def main() -> None:
    """Stand in for the orchestrator: takes its environment, writes it down, and serves."""
    environment = {name: value for name, value in os.environ.items() if name.startswith("TOOLORCHESTRA_")}
    state = Path(environment["TOOLORCHESTRA_STATUS_FILE"]).parent
    (state / "environment.json").write_text(json.dumps(environment))
    token = Path(environment["TOOLORCHESTRA_ADMIN_TOKEN_FILE"]).read_text()
    kept = state / "keys.json"
    world = World(admin_token=token, keys=json.loads(kept.read_text()) if kept.exists() else {}, kept=kept)
    with ContractServer(int(environment["TOOLORCHESTRA_PORT"]), world) as server:
        server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
