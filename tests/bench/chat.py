"""What the orchestrator adds to a model call: pass-through beside a bare proxy of the same upstream, and the loop per turn.

The upstream answers at once, so all that is measured is overhead. Run it with ``python -m tests.bench.chat``.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import psutil

from tests.support.platform import Platform, expert, manifest
from tests.support.services import running
from toolorchestra.cli.embedded.leash import leashed
from toolorchestra.cli.embedded.parts import free_port
from toolorchestra.cli.embedded.postgres import postgres_part, postgres_url
from toolorchestra.cli.embedded.valkey import valkey_part
from toolorchestra.executors.testing import Behaviour, CountingProvider
from toolorchestra.ledger.schema import migrate

TURNS = 10
AT_ONCE = 16


@contextmanager
def bare_proxy(upstream: str) -> Iterator[str]:
    port = free_port()
    environment = {**os.environ, "UPSTREAM": upstream}
    process = subprocess.Popen(leashed((sys.executable, "-m", "tests.bench._bare_proxy", str(port))), env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        while not _answers(url):
            time.sleep(0.05)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/docs", timeout=1).status_code == 200
    except httpx.HTTPError:
        return False


class Target:
    """Somebody who answers chat completions."""

    def __init__(self, name: str, url: str, headers: Mapping[str, str], model: str) -> None:
        self.name, self.url, self.headers, self.model = name, url, headers, model

    async def once(self, client: httpx.AsyncClient, content: str = "hello") -> float:
        body = {"model": self.model, "messages": [{"role": "user", "content": content}], "max_tokens": 32}
        began = time.perf_counter()
        answer = await client.post(f"{self.url}/v1/chat/completions", json=body, headers=dict(self.headers))
        answer.raise_for_status()
        return (time.perf_counter() - began) * 1000


async def latencies(targets: list[Target], seconds: float, at_once: int) -> dict[str, list[float]]:
    """Milliseconds per request; the targets take turns, so that drift of the machine touches all alike."""
    found: dict[str, list[float]] = {target.name: [] for target in targets}
    async with httpx.AsyncClient(timeout=60) as client:
        for target in targets:
            await target.once(client)
        until = time.monotonic() + seconds * len(targets)
        while time.monotonic() < until:
            for target in targets:
                found[target.name] += await asyncio.gather(*(target.once(client) for _ in range(at_once)))
    return found


def cpu_ms(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return (times.user + times.system) * 1000


def report(title: str, found: Mapping[str, list[float]], base: str, other: str) -> None:
    print(title)
    for name, values in found.items():
        p99 = sorted(values)[int(len(values) * 0.99)]
        print(f"  {name:<24} p50 {statistics.median(values):7.2f} ms   p99 {p99:7.2f} ms   n {len(values)}")
    ratio = statistics.median(found[other]) / statistics.median(found[base])
    added = statistics.median(found[other]) - statistics.median(found[base])
    print(f"  {other} / {base}: {ratio:.2f}x at the median, {added:+.2f} ms")


def loop_per_turn(platform: Platform, provider: CountingProvider, seconds: float) -> None:
    """A managed run of many turns, less what its model calls take by themselves."""
    turns = [*({"call": ["calculator", {"expression": f"{n}+1"}]} for n in range(TURNS - 1)), {"text": "done"}]
    content = f"count [[{json.dumps({'turns': turns})}]]"
    headers = {"authorization": f"Bearer {platform.key}"}
    managed = Target("managed", platform.url, headers, "manager")
    direct = Target("direct", provider.origin, {}, "counting")
    found = asyncio.run(_pairs(managed, direct, content, seconds))
    print(f"loop, {TURNS} turns with {TURNS - 1} inline calls per run, with storage")
    print(f"  per turn {statistics.median(found):.2f} ms beside the model's own time (n {len(found)})")


async def _pairs(managed: Target, direct: Target, content: str, seconds: float) -> list[float]:
    found = []
    async with httpx.AsyncClient(timeout=60) as client:
        await managed.once(client, content)
        until = time.monotonic() + seconds
        while time.monotonic() < until or not found:
            whole = await managed.once(client, content)
            alone = statistics.median([await direct.once(client) for _ in range(5)])
            found.append((whole - alone * TURNS) / TURNS)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    seconds = parser.parse_args().seconds
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="to-bench-")))
        folder.chmod(0o755)
        stack.enter_context(running(postgres_part(folder / "pg"), log=folder / "pg.log"))
        valkey = stack.enter_context(running(valkey_part(folder / "valkey"), log=folder / "valkey.log"))
        provider = stack.enter_context(CountingProvider(behaviour=Behaviour(tokens=8)))
        url = postgres_url(folder / "pg")
        asyncio.run(migrate(url))
        platform = Platform(folder, url, valkey.url, allow=[f"127.0.0.1:{provider.port}"])
        calculator = {
            "description": "Evaluates an expression.",
            "plugin": {"name": "calculator"},
            "sideEffects": "readOnly",
            "parameters": {"type": "object", "properties": {"expression": {"type": "string"}}, "required": ["expression"]},
        }
        platform.apply(
            expert("small", provider),
            manifest("Tool", "calculator", calculator),
            manifest("Orchestrator", "manager", {"policy": {"expertModelRef": {"name": "small"}}}),
        )
        replica = platform.start()
        stack.callback(replica.stop)
        headers = {"authorization": f"Bearer {platform.key}"}
        targets = [
            Target("bare proxy", stack.enter_context(bare_proxy(provider.url)), {}, "counting"),
            Target("pass-through", replica.url, headers, "small"),
        ]
        for at_once in (1, AT_ONCE):
            before = cpu_ms(replica.process.pid)
            found = asyncio.run(latencies(targets, seconds, at_once))
            used = (cpu_ms(replica.process.pid) - before) / len(found["pass-through"])
            print(f"processor time of the API worker: {used:.2f} ms per pass-through request")
            report(f"chat pass-through, {at_once} at once", found, "bare proxy", "pass-through")
        loop_per_turn(platform, provider, seconds)
        rss = psutil.Process(replica.process.pid).memory_info().rss / 1e6
        print(f"RSS of the API worker: {rss:.0f} MB (aim < 300 MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
