"""Sandboxed tools, told by the real operator what the sandbox workers report to the ledger."""

import asyncio
from collections.abc import Awaitable, Callable

from tests.support.operators import OperatorSpace, condition_of
from toolorchestra.core.sandbox import SandboxFindings
from toolorchestra.ledger import sandboxes
from toolorchestra.ledger.database import Database

PYTHON = {"description": "Runs code.", "plugin": {"name": "python"}, "execution": "sandbox", "sideEffects": "readOnly"}


def as_worker(space: OperatorSpace, act: Callable[[Database], Awaitable[None]]) -> None:
    """Do what a sandbox worker does in the space's database."""

    async def work() -> None:
        async with await Database.open(space.environment["TOOLORCHESTRA_DATABASE_URL"], max_size=1) as database:
            await act(database)

    asyncio.run(work())


def test_a_sandboxed_tool_follows_what_the_workers_report(shared_space: OperatorSpace) -> None:
    space, findings = shared_space, SandboxFindings("process", "", {"landlock": 7}, {"database": "closed"})
    space.apply("Tool", "code", PYTHON)
    space.apply("Tool", "code-in-a-pod", PYTHON | {"minimumSandbox": "pod"})

    body = space.wait("Tool", "code", "Ready", "False", reason="NoSandboxWorker")
    assert "sandbox" not in body["status"]
    assert "spec.execution" in condition_of(body, "Ready")["message"]

    as_worker(space, lambda database: sandboxes.put(database, "box.1", findings, life_ms=600_000))
    body = space.wait("Tool", "code", "Ready", "True")
    assert [one["type"] for one in body["status"]["conditions"]] == ["Accepted", "Reachable", "Sandboxed", "Ready"]
    assert body["status"]["sandbox"] == "process"
    body = space.wait("Tool", "code-in-a-pod", "Ready", "False", reason="SandboxTooWeak")
    assert body["status"]["sandbox"] == "process"
    assert "spec.minimumSandbox demands 'pod'" in condition_of(body, "Sandboxed")["message"]

    as_worker(space, lambda database: sandboxes.withdraw(database, "box.1"))
    body = space.wait("Tool", "code", "Ready", "False", reason="NoSandboxWorker")
    assert "sandbox" not in body["status"]
    assert space.events("code") == [("Warning", "NoSandboxWorker"), ("Normal", "Ready"), ("Warning", "NoSandboxWorker")]
