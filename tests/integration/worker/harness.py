"""What the worker's tests and its benchmark share: the owner's side of calls, a real peer, and workers as processes."""

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from toolorchestra.cli.embedded.leash import leashed
from toolorchestra.core.functions import Function
from toolorchestra.core.loop.facts import Limits, Opened
from toolorchestra.core.loop.journal import CallStart, Take, Transition
from toolorchestra.core.registry import Catalog
from toolorchestra.core.resources import BudgetPolicySpec, Tool
from toolorchestra.core.revision import Revision, functions_for
from toolorchestra.core.tasks import call_channel
from toolorchestra.kit.signals import SignalBus
from toolorchestra.kit.valkey_signals import open_signals
from toolorchestra.ledger import calls, keys, policies, runs
from toolorchestra.ledger.calls import Attempt, CallState, StoredCall
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.journal import open_run
from toolorchestra.ledger.schema import migrate
from toolorchestra.ledger.transitions import NewRun, RunContext
from toolorchestra.orchestrator.storage.queue import CeleryQueue

TENANT = "acme"
CALCULATOR: dict[str, Any] = {"plugin": {"name": "calculator"}, "execution": "queued", "sideEffects": "readOnly"}
PYTHON: dict[str, Any] = {"plugin": {"name": "python"}, "execution": "sandbox", "sideEffects": "readOnly"}


def function_of(name: str, **spec: Any) -> Function:
    """The function that a Tool with this spec gives."""
    body = {"description": name, "parameters": {"type": "object"}, **spec}
    metadata = {"name": name, "namespace": TENANT}
    tool = Tool.model_validate({"apiVersion": "toolorchestra.dev/v1alpha1", "kind": "Tool", "metadata": metadata, "spec": body})
    (function,), problems = functions_for(Catalog(tools={(TENANT, name): tool}), TENANT, BudgetPolicySpec())
    assert not problems
    return function


async def eventually(condition: Callable[[], object], *, within_s: float = 20) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.02)


class Desk:
    """Stands where the orchestrator does: opens runs with queued calls, publishes their ids, waits for outcomes."""

    def __init__(self, database: Database, queue: CeleryQueue, signals: SignalBus, key: str) -> None:
        self.database = database
        self.signals = signals
        self._queue = queue
        self._key = key
        self._numbers = itertools.count(1)

    @classmethod
    @asynccontextmanager
    async def open(cls, database_url: str, valkey_url: str, *, migrated: bool = True) -> AsyncIterator[Self]:
        if not migrated:
            await migrate(database_url)
        async with await Database.open(database_url, max_size=20) as database:
            async with database.system() as connection:
                await policies.apply_policy(connection, TENANT, BudgetPolicySpec())
            async with database.tenant(TENANT) as connection:
                key = (await keys.create(connection, TENANT, name="test", pepper=b"x" * 32)).record.id
            signals, queue = open_signals(valkey_url), CeleryQueue(valkey_url)
            try:
                yield cls(database, queue, signals, key)
            finally:
                queue.close()
                await signals.close()

    async def store(
        self, function: Function, arguments: dict[str, Any], *, timeout_ms: int = 30_000, count: int = 1,
        hold_nano_usd: int = 0, traceparent: str | None = None,
    ) -> list[str]:  # fmt: skip
        """Open a run with ``count`` calls that wait for a worker; their ids."""
        run_id = f"run{next(self._numbers)}-{os.getpid()}-{time.monotonic_ns()}"
        revision = Revision(
            id=f"revision-{run_id}", tenant=TENANT, model="m", orchestrator=None, policy=None, manager=None, closing=None,
            functions=(function,),
        )  # fmt: skip
        async with self.database.tenant(TENANT) as connection:
            body = revision.model_dump(mode="json")
            await runs.put_revision(connection, TENANT, revision=revision.id, body=body)
        context = RunContext(run_id, TENANT, self._key, owner="desk")
        opened = Opened(
            model="m", policy="baseline:cascade", tenant=TENANT, key=self._key, revision=revision.id, messages=(),
            limits=Limits(max_turns=1, max_output_tokens=1, timeout_ms=300_000),
        )  # fmt: skip
        starts = tuple(
            CallStart(
                turn=1, ordinal=n, attempt=1, function=function.name, arguments=arguments, execution=function.execution,
                side_effects=function.side_effects, timeout_ms=timeout_ms, hold=f"{run_id}/1/{n}/1",
                hold_nano_usd=hold_nano_usd,
            )
            for n in range(1, count + 1)
        )  # fmt: skip
        takes = tuple(Take(start.hold, hold_nano_usd, timeout_ms + 30_000, sent=False) for start in starts)
        new = NewRun(context, model="m", revision=revision.id, traceparent=traceparent)
        await open_run(self.database, new, Transition(run_id, 0, (opened,), takes=takes, starts=starts))
        return [f"{run_id}/1/{start.ordinal}" for start in starts]

    async def publish(self, *call_ids: str, execution: str = "queued", headers: Mapping[str, str] | None = None) -> None:
        await self._queue.publish([(call_id, execution) for call_id in call_ids], headers or {})

    async def call(self, function: Function, arguments: dict[str, Any], **parts: Any) -> str:
        """Store one call and publish it."""
        (call_id,) = await self.store(function, arguments, **parts)
        await self.publish(call_id, execution=function.execution)
        return call_id

    async def read(self, call_id: str) -> StoredCall:
        async with self.database.tenant(TENANT) as connection:
            return await calls.stored(connection, call_id)

    async def attempts(self, call_id: str) -> list[Attempt]:
        async with self.database.tenant(TENANT) as connection:
            return await calls.attempts_of_run(connection, call_id.rsplit("/", 2)[0])

    async def give_up(self, call_id: str) -> StoredCall:
        async with self.database.tenant(TENANT) as connection:
            return await calls.give_up(connection, call_id)

    async def done(self, call_id: str, *, within_s: float = 20) -> StoredCall:
        """The call once it has an outcome."""
        return await self.until(call_id, lambda row: row.outcome is not None, within_s=within_s)

    async def running(self, call_id: str, *, within_s: float = 20) -> StoredCall:
        return await self.until(call_id, lambda row: row.state is CallState.RUNNING, within_s=within_s)

    async def until(self, call_id: str, wanted: Callable[[StoredCall], bool], *, within_s: float = 20) -> StoredCall:
        deadline = time.monotonic() + within_s
        while not wanted(row := await self.read(call_id)):
            assert time.monotonic() < deadline, f"still {row}"
            await asyncio.sleep(0.02)
        return row

    async def told(self, call_id: str, act: Callable[[], Any], *, within_ms: int = 20_000) -> bool:
        """Whether a signal of this call's end arrives after ``act``."""
        async with self.signals.subscribe(call_channel(call_id.rsplit("/", 2)[0])) as subscription:
            await act()
            signal_ = await subscription.next(within_ms)
        return signal_ is not None and signal_.payload.decode() == call_id


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # beyond the usual five, connections to a busy machine are dropped, and come seconds later


@dataclass
class Peer:
    """A tool's server: it counts what reaches it, and answers only while ``gate`` is open."""

    hits: list[dict[str, str]] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def spec(self, **parts: Any) -> dict[str, Any]:
        """A Tool that calls this server."""
        return {"http": {"url": f"http://{self.address}/work", "method": "POST"}, "execution": "queued", **parts}

    async def hit(self, times: int = 1, *, within_s: float = 20) -> None:
        """Wait until the server was called so often."""
        await eventually(lambda: len(self.hits) >= times, within_s=within_s)

    def serve(self) -> ThreadingHTTPServer:
        peer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                peer.hits.append({name.lower(): value for name, value in self.headers.items()})
                peer.gate.wait(60)
                body = json.dumps({"hit": len(peer.hits)}).encode()
                try:
                    self.send_response(200)
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    self.close_connection = True  # whoever called is dead, which is what some tests are about

            def log_message(self, *_: Any) -> None: ...

        server = _Server(("127.0.0.1", 0), Handler)
        self.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return server


class WorkerProcess:
    """A worker as it is started in earnest."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.ready_file = folder / "ready"
        self.log_file = folder / "worker.log"
        self.traces = folder / "traces"
        named: dict[str, Any] = {"ready_file": self.ready_file, "telemetry__traces_folder": self.traces, **settings}
        self._settings = {f"TOOLORCHESTRA_{name.upper()}": _text(value) for name, value in named.items() if value is not None}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, ready_s: float = 60) -> Self:
        """Start it and wait until it takes calls."""
        self.spawn()
        deadline = time.monotonic() + ready_s
        while not self.ready_file.exists():
            ended = self.running.poll()
            assert ended is None, f"ended with {ended}:\n{self.log}"
            assert time.monotonic() < deadline, f"not ready:\n{self.log}"
            time.sleep(0.02)
        return self

    def spawn(self) -> subprocess.Popen[bytes]:
        with self.log_file.open("ab") as output:
            self.process = subprocess.Popen(
                leashed((sys.executable, "-m", "toolorchestra.worker"), end=signal.SIGKILL),
                stdout=output, stderr=output, stdin=subprocess.DEVNULL, env={**os.environ, **self._settings},
                start_new_session=True,
            )  # fmt: skip
        return self.process

    @property
    def running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None
        return self.process

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def logged(self, event: str, call_id: str | None = None) -> list[dict[str, Any]]:
        """The log's entries of one event, of one call."""
        complete = self.log.rpartition("\n")[0].splitlines()
        entries = [json.loads(line) for line in complete if line.startswith("{")]
        return [entry for entry in entries if entry.get("event") == event and call_id in (None, entry.get("call"))]

    def kill(self) -> None:
        self.running.kill()
        self.running.wait(10)

    def terminate(self, *, within_s: float = 30) -> int:
        """Stop it as a supervisor does; its exit status."""
        self.running.send_signal(signal.SIGTERM)
        return self.running.wait(within_s)

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


def _text(value: Any) -> str:
    return json.dumps(list(value)) if isinstance(value, tuple | list) else str(value)
