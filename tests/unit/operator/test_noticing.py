"""Who is looked at again when something changes, and what sweeps find that watches did not tell."""

import asyncio
from typing import Any

import pytest

from tests.unit.operator.making import Frame, body, toy
from toolorchestra.core.errors import UpstreamError
from toolorchestra.kit.kubernetes import KubernetesObject
from toolorchestra.operator.plan import Plan
from toolorchestra.operator.services.index import Index
from toolorchestra.operator.services.kinds import TYPES, Reference
from toolorchestra.operator.services.liveness import Watches
from toolorchestra.operator.services.noticing import Noticer
from toolorchestra.operator.services.orchestrators import used_models
from toolorchestra.operator.services.queue import WorkQueue

TOOL = Reference("Tool", "team", "one")


class Noticed:
    """A noticer, and what it put on the queue."""

    def __init__(self) -> None:
        self.queue: WorkQueue[Reference] = WorkQueue()
        self.index = Index(lambda one: used_models(one) if one.kind == "Orchestrator" else ())
        self.noticer = Noticer(self.index, self.queue, Watches())

    def tell(self, *bodies: KubernetesObject, deleted: bool = False) -> None:
        for one in bodies:
            self.noticer.event(one, deleted=deleted)

    async def taken(self) -> set[Reference]:
        """Everything on the queue, which is empty then."""
        found: set[Reference] = set()

        async def take(reference: Reference) -> None:
            found.add(reference)

        worker = asyncio.create_task(self.queue.work(take))
        while not self.queue.idle:
            await asyncio.sleep(0)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        return found


def child(
    kind: str, name: str, *, owner: dict[str, Any] | None = None, labels: dict[str, str] | None = None
) -> KubernetesObject:
    metadata: dict[str, Any] = {"name": name, "namespace": "team", "uid": name, "resourceVersion": "1", "labels": labels or {}}
    if owner:
        metadata["ownerReferences"] = [{"controller": True, "uid": "u", **owner}]
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata}


async def test_edits_are_looked_at_and_own_status_writes_are_not():
    noticed = Noticed()
    noticed.tell(body("Tool"))
    assert await noticed.taken() == {TOOL}
    noticed.tell(body("Tool") | {"status": {"functions": ["one"]}})
    assert await noticed.taken() == set()
    noticed.tell(body("Tool", generation=2))
    assert await noticed.taken() == {TOOL}
    noticed.tell(body("Tool", generation=2, annotations={"look": "again"}))
    assert await noticed.taken() == {TOOL}


async def test_what_is_not_newer_is_no_news():
    noticed = Noticed()
    noticed.tell(body("Tool", resourceVersion="100", generation=2))
    await noticed.taken()
    noticed.tell(body("Tool", resourceVersion="99"))
    assert await noticed.taken() == set()
    assert noticed.index.get(TOOL).generation == 2


async def test_the_end_of_an_earlier_object_of_the_name_is_not_the_end_of_the_new_one():
    noticed = Noticed()
    old, new = body("Tool"), body("Tool", uid="another")
    noticed.tell(old, new)
    noticed.tell(old, deleted=True)
    assert noticed.index.get(TOOL) is not None
    noticed.tell(new, deleted=True)
    assert noticed.index.get(TOOL) is None


async def test_users_of_a_model_are_looked_at_when_its_conditions_change():
    noticed = Noticed()
    policy = {"policy": {"expertModelRef": {"name": "one"}}}
    noticed.tell(body("ExpertModel"), body("Orchestrator", "led", policy), body("Orchestrator", "free"))
    await noticed.taken()
    conditions = [{"type": "Ready", "status": "True", "reason": "Ready"}]
    led = Reference("Orchestrator", "team", "led")
    model = body("ExpertModel") | {"status": {"conditions": conditions}}
    noticed.tell(model)
    assert await noticed.taken() == {led}
    noticed.tell(body("ExpertModel") | {"status": {"conditions": conditions, "latencyMs": 5}})
    assert await noticed.taken() == set()
    noticed.tell(model, deleted=True)
    assert await noticed.taken() == {led, Reference("ExpertModel", "team", "one")}


async def test_who_offers_the_same_function_is_looked_at_when_one_comes_or_goes():
    noticed = Noticed()
    noticed.tell(body("Tool"))
    await noticed.taken()
    rival = body("ExpertModel", uid="rival")
    noticed.tell(rival)
    assert await noticed.taken() == {TOOL, Reference("ExpertModel", "team", "one")}
    noticed.tell(rival, deleted=True)
    assert TOOL in await noticed.taken()


@pytest.mark.parametrize(
    "made",
    [
        child("Job", "work", owner={"apiVersion": "toolorchestra.dev/v1alpha1", "kind": "Tool", "name": "one"}),
        child("Job", "work", labels={"toolorchestra.dev/kind": "Tool", "toolorchestra.dev/name": "one"}),
    ],
)
async def test_what_a_resource_owns_leads_back_to_it(made: KubernetesObject):
    noticed = Noticed()
    noticed.tell(body("Tool"))
    await noticed.taken()
    noticed.tell(made)
    assert await noticed.taken() == {TOOL}
    noticed.tell(child("Workload", "job-work", owner={"apiVersion": "batch/v1", "kind": "Job", "name": "work"}))
    assert await noticed.taken() == {TOOL}
    noticed.tell(
        child("Job", "foreign"), child("Workload", "w", owner={"apiVersion": "batch/v1", "kind": "Job", "name": "foreign"})
    )
    assert await noticed.taken() == set()


def swept() -> Frame:
    return Frame(toy(lambda _tool, _seen: Plan([])))


async def test_a_sweep_finds_what_the_watch_did_not_tell():
    frame = swept()
    frame.api.put(TYPES["Tool"], body("Tool"))
    frame.watches.expect("Tool")
    await frame.sweeper.fill()
    assert frame.sweeper.swept
    assert frame.queue.depth == 1
    frame.api.put(TYPES["Tool"], body("Tool", "two"))
    await frame.api.delete(TYPES["Tool"], "one", namespace="team")
    await frame.sweeper.sweep()
    assert {entry.reference.name for entry in frame.index} == {"two"}


async def test_only_a_sweep_that_missed_nothing_is_a_sign_of_life():
    beats: list[str] = []
    frame = swept()
    frame.watches.beat = beats.append
    frame.api.put(TYPES["Tool"], body("Tool"))
    await frame.sweeper.sweep()
    assert beats == []
    await frame.sweeper.sweep()
    assert beats == ["Tool"]
    frame.api.fail("list", TYPES["Tool"], UpstreamError("away"))
    await frame.sweeper.sweep()
    assert beats == ["Tool"]


async def test_what_is_held_outside_for_nobody_is_put_on_the_queue():
    async def outside() -> list[tuple[str, str]]:
        return [("team", "one"), ("team", "gone"), ("elsewhere", "gone")]

    frame = Frame(toy(lambda _tool, _seen: Plan([]), outside=outside), namespaces=["team"])
    frame.put(body("Tool"))
    task = asyncio.create_task(frame.sweeper.look_outside_forever(60_000))
    while frame.queue.depth < 2:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert frame.queue.depth == 2, "the one that is there and the one that is gone; not another operator's"


def test_a_kind_of_which_nothing_is_expected_is_never_silent():
    now = [0.0]
    watches = Watches(silent_after_s=10, clock=lambda: now[0])
    watches.expect("Tool")
    watches.beat("Job")
    now[0] = 9.0
    watches.beat("Tool")
    now[0] = 18.0
    assert watches.silent() == []
    now[0] = 20.0
    assert watches.silent() == ["Tool"]
