"""A real platform for tests: the orchestrator as a process of its own, over a real database, real signals and real peers."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import openai
import psycopg
import pytest
import yaml

from toolorchestra.cli.embedded.leash import leashed
from toolorchestra.cli.embedded.parts import free_port
from toolorchestra.executors.testing import CountingProvider
from toolorchestra.ledger.checks import Violation, invariants
from toolorchestra.ledger.database import Database

ADMIN_TOKEN = "admin-token-of-the-tests"
START_S = 60.0


def expert(name: str, provider: CountingProvider, *, model: str = "counting", **spec: object) -> dict[str, object]:
    """An ExpertModel served by a counting provider, at the provider's own prices."""
    body: dict[str, object] = {
        "description": f"expert {name}",
        "model": model,
        "endpoint": {"baseUrl": provider.url},
        "pricing": {"input": "1", "output": "2"},
        "maxOutputTokens": 256,
        "contextTokens": 32768,
        "timeout": "20s",
        **spec,
    }
    return manifest("ExpertModel", name, body)


def manifest(kind: str, name: str, spec: object, namespace: str = "default") -> dict[str, object]:
    """A manifest."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "toolorchestra.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def tool(name: str, url: str, **spec: object) -> dict[str, object]:
    """A Tool over HTTP that takes one text, ``n``. It only reads, unless ``spec`` says otherwise."""
    schema = {"type": "object", "properties": {"n": {"type": "string"}}, "required": ["n"], "additionalProperties": False}
    effects = spec.get("sideEffects", "readOnly")
    body: dict[str, object] = {
        "description": f"The tool {name}.",
        "parameters": schema,
        "http": {"method": "GET" if effects == "readOnly" else "POST", "url": url, "query": {"n": "{n}"}},
        "sideEffects": effects,
        **spec,
    }
    return manifest("Tool", name, body)


def manager(name: str = "manager", model: str = "small", **spec: object) -> dict[str, object]:
    """An Orchestrator whose policy is an ExpertModel."""
    return manifest("Orchestrator", name, {"policy": {"expertModelRef": {"name": model}}, **spec})


def inside(namespace: str, *documents: dict[str, object]) -> list[dict[str, object]]:
    """The same manifests in another namespace."""
    return [{**one, "metadata": {**one["metadata"], "namespace": namespace}} for one in documents]  # type: ignore[dict-item]


@dataclass
class Replica:
    """One process: an orchestrator at ``url``, or a worker, which has none."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """SIGSTOP: the process does nothing, its connections stay."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """SIGTERM, as Kubernetes does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.thaw()
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@dataclass
class Platform:
    """Folders, settings and processes of one test's platform."""

    folder: Path
    database_url: str
    signal_url: str
    allow: list[str] = field(default_factory=list)
    replicas: list[Replica] = field(default_factory=list)
    workers: list[Replica] = field(default_factory=list)
    extra: dict[str, str] = field(default_factory=dict)
    _key: str = ""
    _clients: list[httpx.Client] = field(default_factory=list)

    def close(self) -> None:
        """End all processes and close all clients."""
        for client in self._clients:
            client.close()
        for process in (*self.replicas, *self.workers):
            process.stop()

    @property
    def manifests(self) -> Path:
        return self.folder / "manifests"

    def apply(self, *documents: object, file: str = "all.yaml") -> None:
        """Write manifests; a running orchestrator reads them again."""
        self.manifests.mkdir(exist_ok=True)
        temporary = self.folder / "writing"
        temporary.write_text(yaml.safe_dump_all(documents, sort_keys=False))
        temporary.rename(self.manifests / file)

    def environment(self) -> dict[str, str]:
        """What a process of the platform needs."""
        secrets = {"pepper": "a-pepper-for-tests-0123456789", "admin": ADMIN_TOKEN}
        for name, text in secrets.items():
            path = self.folder / name
            if not path.exists():
                path.touch(mode=0o600)
                path.write_text(text)
        return {
            **os.environ,
            "TOOLORCHESTRA_DATABASE_URL": self.database_url,
            "TOOLORCHESTRA_SIGNAL_URL": self.signal_url,
            "TOOLORCHESTRA_BROKER_URL": self.signal_url,
            "TOOLORCHESTRA_MANIFESTS": f'["{self.manifests}"]',
            "TOOLORCHESTRA_KEY_PEPPER_FILE": str(self.folder / "pepper"),
            "TOOLORCHESTRA_ADMIN_TOKEN_FILE": str(self.folder / "admin"),
            "TOOLORCHESTRA_EGRESS_ALLOW": "[" + ",".join(f'"{a}"' for a in self.allow) + "]",
            "TOOLORCHESTRA_TELEMETRY__TRACES_FOLDER": str(self.folder / "traces"),
            "TOOLORCHESTRA_LEASE_MS": "2000",
            **self.extra,
        }

    def start(self, **settings: str) -> Replica:
        """One more orchestrator; returns when it is ready. ``settings`` are environment variables of this one."""
        return self.wait_for(self.launch(**settings))

    def launch(self, **settings: str) -> Replica:
        """One more orchestrator, not waited for."""
        port = free_port()
        log = self.folder / f"orchestrator-{len(self.replicas)}.log"
        environment = self.environment() | {"TOOLORCHESTRA_PORT": str(port)} | settings
        with log.open("ab") as output:
            process = subprocess.Popen(
                leashed((sys.executable, "-m", "toolorchestra.orchestrator")), stdout=output, stderr=output, env=environment
            )
        replica = Replica(process, f"http://127.0.0.1:{port}", log)
        self.replicas.append(replica)
        return replica

    def wait_for(self, replica: Replica) -> Replica:
        """Returns when the replica is ready."""
        deadline = time.monotonic() + START_S
        while not _ready(replica.url):
            if replica.process.poll() is not None or time.monotonic() > deadline:
                said = replica.log.read_text(errors="replace")[-4000:]
                pytest.fail(f"the orchestrator did not start:\n{said}", pytrace=False)
            time.sleep(0.05)
        return replica

    def start_worker(self, **settings: str) -> Replica:
        """One more worker; returns when it takes calls."""
        number = len(self.workers)
        log, ready = self.folder / f"worker-{number}.log", self.folder / f"worker-{number}.ready"
        environment = self.environment() | {"TOOLORCHESTRA_READY_FILE": str(ready)} | settings
        command = leashed((sys.executable, "-m", "toolorchestra.worker"))
        with log.open("ab") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, env=environment)
        self.workers.append(Replica(process, "", log))
        wait_until(lambda: ready.exists() or process.poll() is not None, seconds=START_S)
        if process.poll() is not None:
            pytest.fail(f"the worker did not start:\n{log.read_text(errors='replace')[-4000:]}", pytrace=False)
        return self.workers[-1]

    @property
    def url(self) -> str:
        """The newest replica."""
        return self.replicas[-1].url

    @property
    def key(self) -> str:
        """An API key of the tenant ``default``."""
        if not self._key:
            self._key = self.new_key()
        return self._key

    def new_key(self, tenant: str = "default", **wish: object) -> str:
        answer = self.admin("POST", f"/{tenant}/keys", json={"name": "tests", **wish})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["key"])

    def admin(self, method: str, path: str, **arguments: object) -> httpx.Response:
        """A call of the administration API."""
        headers = {"authorization": f"Bearer {ADMIN_TOKEN}"}
        return httpx.request(
            method,
            f"{self.url}/admin/v1/tenants{path}",
            headers=headers,
            timeout=30,
            **arguments,  # type: ignore[arg-type]
        )

    def http(self, key: str | None = None, *, url: str | None = None) -> httpx.Client:
        """A plain client with a key, of the newest replica or of another; it is closed with the platform."""
        headers = {"authorization": f"Bearer {key or self.key}"}
        client = httpx.Client(base_url=url or self.url, headers=headers, timeout=60)
        self._clients.append(client)
        return client

    def openai(self, **options: object) -> openai.OpenAI:
        """The official SDK, with its own defaults."""
        arguments = {"base_url": f"{self.url}/v1", "api_key": self.key, **options}
        return openai.OpenAI(**arguments)  # type: ignore[arg-type]

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection to the database as its owner, each statement a transaction of its own."""
        return psycopg.connect(self.database_url, options="-c search_path=toolorchestra", autocommit=True)

    def sql(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Read the database as its owner."""
        with self.connect() as connection:
            return connection.execute(query, values or None).fetchall()  # type: ignore[call-overload,no-any-return]

    def facts(self, run_id: str) -> list[dict[str, Any]]:
        """The stored facts of a run, in order, each with its ``seq``."""
        rows = self.sql("SELECT seq, body::text FROM events WHERE run = %s ORDER BY seq", run_id)
        return [{"seq": seq, **json.loads(body)} for seq, body in rows]

    def runs(self) -> set[str]:
        """The ids of all runs."""
        return {row[0] for row in self.sql("SELECT id FROM runs")}

    def new_run(self, known: set[str]) -> str:
        """The run that was not there before, as soon as it is there."""
        wait_until(lambda: bool(self.runs() - known))
        return (self.runs() - known).pop()

    def run_named(self, name: str) -> str:
        """The run with this ``name`` in its metadata, as soon as it is there."""
        query = "SELECT id FROM runs WHERE metadata->>'name' = %s"
        wait_until(lambda: bool(self.sql(query, name)))
        return str(self.sql(query, name)[0][0])

    def ended(self, run_id: str) -> bool:
        """Whether the run is over."""
        return self.sql("SELECT state FROM runs WHERE id = %s", run_id) == [("ended",)]

    def status(self, run_id: str) -> str:
        """How the run ended."""
        return str(self.sql("SELECT status FROM runs WHERE id = %s", run_id)[0][0])

    def entries(self, run_id: str) -> list[tuple[str, int]]:
        """Kind and amount of the run's money entries, in order."""
        query = "SELECT e.kind, e.amount FROM entries e JOIN holds h ON h.id = e.hold"
        return self.sql(f"{query} WHERE h.run = %s AND e.unit = 'nano_usd' ORDER BY e.id", run_id)  # type: ignore[return-value]

    def charged(self, run_id: str) -> int:
        """What the run cost in nano-USD, by the ledger."""
        return sum(amount for _, amount in self.entries(run_id))

    def fact_types(self, run_id: str) -> list[str]:
        """What happened in a run, in words."""
        return [fact["type"] for fact in self.facts(run_id)]

    def violations(self, *, grace_ms: int = 30_000) -> list[Violation]:
        """Laws of the ledger that do not hold."""

        async def check() -> list[Violation]:
            async with await Database.open(self.database_url) as database, database.system() as connection:
                return await invariants(connection, grace_ms=grace_ms)

        return asyncio.run(check())

    def held_nano_usd(self) -> int:
        """What all open holds of money sum to."""
        held: int = self.sql("SELECT coalesce(sum(amount), 0)::bigint FROM holds WHERE state = 'open' AND unit = 'nano_usd'")[
            0
        ][0]
        return held


def wait_until(condition: Callable[[], bool], *, seconds: float = 20.0, pause: float = 0.05) -> None:
    """Wait for something that other processes do."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"still not so after {seconds} s")
        time.sleep(pause)


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.fixture
def provider() -> Iterator[CountingProvider]:
    """A model provider that counts its own bill."""
    with CountingProvider() as running:
        yield running


PlatformFactory = Callable[..., AbstractContextManager[Platform]]


@pytest.fixture(scope="session")
def new_platform(
    tmp_path_factory: pytest.TempPathFactory,
    new_database: Callable[[str], str],
    migrated_template: str,
    valkey_server_url: str,
) -> PlatformFactory:
    """Makes platforms of any lifetime: ``with new_platform(provider) as platform: …``.

    Peers (anything with a ``port``) may be called by the platform; keyword arguments are settings of its processes.
    """

    @contextmanager
    def make(*peers: Any, **settings: str) -> Iterator[Platform]:
        url = new_database(migrated_template)
        allow = [f"127.0.0.1:{peer.port}" for peer in peers]
        made = Platform(tmp_path_factory.mktemp("platform"), url, valkey_server_url, allow=allow, extra=settings)
        try:
            yield made
        finally:
            made.close()

    return make


@pytest.fixture
def platform(tmp_path: Path, database_url: str, valkey_url: str, provider: CountingProvider) -> Iterator[Platform]:
    """A platform without processes yet: ``apply`` manifests, then ``start``."""
    made = Platform(tmp_path, database_url, valkey_url, allow=[f"127.0.0.1:{provider.port}"])
    yield made
    made.close()
