"""The operator with a thousand tools: from the first apply to the last condition, its memory, and what it writes.

1,000 Tools and 200 ExpertModels in ten namespaces are applied to a real API server while one operator serves them all; their
probes reach a real server, and 50 of them cannot and must say so. Then the operator is killed and started again: that must
write nothing. Seconds and memory are printed beside their aims; only something broken fails.

Run it with ``python -m tests.bench.operator``; few ``--seconds`` make it small.
"""

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.cluster import control_plane
from tests.support.crds import install_crds
from tests.support.operators import OperatorProcess, OperatorSpace, condition_of, grant, signed_in
from toolorchestra.executors.testing import CountingProvider
from toolorchestra.kit.kubernetes import KubernetesApi, KubernetesObject, ResourceType
from toolorchestra.kit.kubernetes_client import open_kubernetes
from toolorchestra.operator.services.kinds import TYPES

NAMESPACES: Final = [f"team-{number}" for number in range(10)]
SMALL: Final = 12  # of so many parts one, when there is little time
APPLYING: Final = 16  # requests at once
PATIENCE_S: Final = 600.0
NOWHERE: Final = "http://127.0.0.1:9"
AIM_S, AIM_MB, AIM_WRITES = 60, 400, 2


@dataclass(frozen=True)
class Load:
    """How many objects; the last ``broken`` of both kinds together lead nowhere."""

    tools: int
    experts: int
    broken: int

    @property
    def total(self) -> int:
        return self.tools + self.experts


@dataclass(frozen=True)
class Result:
    """Seconds, MB, and requests that changed something."""

    applied_s: float
    settled_s: float
    writes: float
    peak_mb: float
    restart_s: float
    restart_writes: float
    restart_mb: float
    reasons: Counter[str]


def bodies(load: Load, url: str) -> Iterator[tuple[ResourceType, KubernetesObject]]:
    """Every twenty-fourth object is broken, so that both kinds have their share."""
    every = load.total // load.broken
    for number in range(load.total):
        target = NOWHERE if number % every == 0 and number // every < load.broken else url
        kind = "Tool" if number < load.tools else "ExpertModel"
        metadata = {"name": f"{kind.lower()}-{number}", "namespace": NAMESPACES[number % len(NAMESPACES)]}
        spec = _tool(target) if kind == "Tool" else _expert(target)
        of = TYPES[kind]
        yield of, {"apiVersion": of.api_version, "kind": kind, "metadata": metadata, "spec": spec}


def _tool(url: str) -> dict[str, Any]:
    words = {"type": "string", "description": "Words to look for."}
    parameters = {"type": "object", "properties": {"query": words}, "required": ["query"]}
    return {
        "description": "Looks something up." * 5,
        "parameters": parameters,
        "http": {"url": f"{url}/search"},
        "sideEffects": "readOnly",
    }


def _expert(url: str) -> dict[str, Any]:
    price = {"input": "1", "output": "2"}
    return {"description": "Knows a lot." * 5, "model": "counting", "endpoint": {"baseUrl": f"{url}/v1"}, "pricing": price}


async def apply_all(api: KubernetesApi, objects: Sequence[tuple[ResourceType, KubernetesObject]]) -> None:
    places = asyncio.Semaphore(APPLYING)

    async def apply(of: ResourceType, body: KubernetesObject) -> None:
        async with places:
            await api.apply(of, body)

    async with asyncio.TaskGroup() as tasks:
        for of, body in objects:
            tasks.create_task(apply(of, body))


async def settled(api: KubernetesApi, load: Load) -> Counter[str]:
    """The reasons of all that have their condition; what is broken says so."""
    found: Counter[str] = Counter()
    for kind in ("Tool", "ExpertModel"):
        for body in (await api.list(TYPES[kind], namespace=None)).items:
            ready = condition_of(body, "Ready")
            if ready and body["status"]["observedGeneration"] == body["metadata"]["generation"]:
                found[f"{ready['status']}/{ready['reason']}"] += 1
    return found


async def measure(load: Load, space: OperatorSpace, url: str) -> Result:
    admin = open_kubernetes(field_manager="bench", kubeconfig=space.cluster.kubeconfig)
    async with admin as api:
        operator = await asyncio.to_thread(space.start, **SETTINGS)
        try:
            began = time.monotonic()
            await apply_all(api, list(bodies(load, url)))
            applied_s = time.monotonic() - began
            reasons, peak_mb = await _until_settled(api, load, operator)
            settled_s, writes = time.monotonic() - began, operator.writes()
            peak_mb = max(peak_mb, operator.resident_mb())
        finally:
            operator.kill()
        began = time.monotonic()
        again = await asyncio.to_thread(space.start, **SETTINGS)
        try:
            while _reconciled(again) < load.total:
                _not_too_long(began)
                await asyncio.sleep(0.25)
            restart_s = time.monotonic() - began
            restart = (restart_s, again.writes(), again.resident_mb())
        finally:
            again.stop()
    return Result(applied_s, settled_s, writes, peak_mb, *restart, reasons)


SETTINGS: Final = {"resync_interval_s": "300", "probe_interval_s": "300"}


async def _until_settled(api: KubernetesApi, load: Load, operator: OperatorProcess) -> tuple[Counter[str], float]:
    began, peak_mb = time.monotonic(), 0.0
    while True:
        reasons = await settled(api, load)
        peak_mb = max(peak_mb, operator.resident_mb())
        if reasons.total() == load.total:
            return reasons, peak_mb
        _not_too_long(began)
        await asyncio.sleep(0.5)


def _reconciled(operator: OperatorProcess) -> float:
    prefix = "toolorchestra_operator_reconciles_total{"
    return sum(value for name, value in operator.metrics().items() if name.startswith(prefix) and 'result="ok"' in name)


def _not_too_long(began: float) -> None:
    if time.monotonic() - began > PATIENCE_S:
        raise TimeoutError(f"not settled within {PATIENCE_S:g} s")


@contextmanager
def cluster() -> Iterator[OperatorSpace]:
    """A control plane with the platform's kinds, and an operator's account for all namespaces. No database: no budgets."""
    with control_plane(controllers=False) as running, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        install_crds(running)
        for namespace in NAMESPACES:
            running.kubectl("create", "namespace", namespace)
        environment = {
            "TOOLORCHESTRA_DATABASE_URL": f"postgresql://nobody@/none?host={folder}",
            "TOOLORCHESTRA_WATCH_NAMESPACES": "[]",
            "TOOLORCHESTRA_EGRESS_ALLOW": '["127.0.0.1"]',
        }
        kubeconfig = signed_in(running, folder)
        grant(running, None)
        yield OperatorSpace(running, NAMESPACES[0], kubeconfig, folder, environment)


def show(load: Load, result: Result) -> None:
    print(f"{load.tools} Tools + {load.experts} ExpertModels, {load.broken} of them broken")
    print(f"  to the last condition     {result.settled_s:7.1f} s   (aim < {AIM_S}; applying took {result.applied_s:.1f} s)")
    print(f"  memory of the operator    {result.peak_mb:7.0f} MB  (aim < {AIM_MB})")
    print(f"  API writes per object     {result.writes / load.total:7.2f}     (aim <= {AIM_WRITES}: the status, and an event)")
    print(
        f"  a new start               {result.restart_s:7.1f} s   {result.restart_writes:.0f} writes, {result.restart_mb:.0f} MB"
    )
    print(f"  conditions                {dict(result.reasons)}")


def check(load: Load, result: Result) -> None:
    """What must hold however slow the machine is."""
    broken = sum(count for reason, count in result.reasons.items() if reason == "False/Unreachable")
    if broken != load.broken or result.reasons["True/Ready"] != load.total - load.broken:
        raise SystemExit(f"expected {load.broken} broken: {dict(result.reasons)}")
    if result.restart_writes:
        raise SystemExit(f"a new start wrote {result.restart_writes:.0f} times")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="fewer than 30: a twelfth of the objects")
    parts = SMALL if parser.parse_args().seconds < AIM_S / 2 else 1
    load = Load(tools=1_000 // parts, experts=200 // parts, broken=50 // parts)
    with cluster() as space, CountingProvider() as provider:
        result = asyncio.run(measure(load, space, provider.origin))
    show(load, result)
    check(load, result)


if __name__ == "__main__":
    main()
