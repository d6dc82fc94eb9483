"""The one path of all kinds: what is written, what is told, and what happens when something does not work."""

from typing import Any

import pytest

from tests.unit.operator.making import Frame, body, toy
from toolorchestra.core.errors import ForbiddenError, InvalidRequestError, UpstreamError
from toolorchestra.core.resources import Tool
from toolorchestra.kit.kubernetes import EVENTS, JOBS, KubernetesObject
from toolorchestra.operator.plan import Condition, Owned, Plan, State
from toolorchestra.operator.services.kinds import TYPES, Reference, Seen

READY = Plan([Condition("Accepted", State.TRUE, "Accepted"), Condition("Ready", State.TRUE, "Ready")])
BROKEN = Plan([Condition("Accepted", State.TRUE, "Accepted"), Condition("Ready", State.FALSE, "Unreachable", "no answer")])


def always(plan: Plan) -> Any:
    return lambda _tool, _seen: plan


def job(name: str = "work") -> KubernetesObject:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": "team"},
        "spec": {"parallelism": 1},
    }


def headline(status: dict[str, Any]) -> tuple[str, str]:
    ready = status["conditions"][-1]
    return ready["status"], ready["reason"]


async def events(frame: Frame) -> list[tuple[str, str, str]]:
    found = (await frame.api.list(EVENTS, namespace="team")).items
    return [(one["type"], one["reason"], one["message"]) for one in found]


async def test_from_apply_to_stable_takes_two_writes():
    frame = Frame(toy(always(READY)))
    reference = frame.put(body("Tool"))
    for _ in range(3):
        await frame.reconcile(reference)
    assert [(verb, plural) for verb, plural, _ in frame.api.writes] == [("apply", "tools"), ("create", "events")]
    status = await frame.status(reference)
    assert (status["observedGeneration"], headline(status)) == (1, ("True", "Ready"))


async def test_events_are_of_transitions_only():
    plans = [READY, BROKEN, BROKEN, READY]
    frame = Frame(toy(lambda _tool, _seen: plans.pop(0)))
    reference = frame.put(body("Tool"))
    for _ in range(4):
        await frame.reconcile(reference)
    assert [(kind, reason) for kind, reason, _ in await events(frame)] == [
        ("Normal", "Ready"), ("Warning", "Unreachable"), ("Normal", "Ready"),
    ]  # fmt: skip


async def test_a_transition_keeps_its_time_and_a_new_message_does_not_make_one():
    messages = ["first", "second"]

    def decide(_tool: Tool, _seen: Seen) -> Plan:
        return Plan([Condition("Ready", State.FALSE, "Unreachable", messages.pop(0))])

    frame = Frame(toy(decide))
    reference = frame.put(body("Tool"))
    await frame.reconcile(reference)
    stored = await frame.api.get(TYPES["Tool"], "one", namespace="team")
    stored["status"]["conditions"][0]["lastTransitionTime"] = "2020-01-01T00:00:00Z"
    frame.noticer.resource(await frame.api.apply(TYPES["Tool"], stored, subresource="status"))
    await frame.reconcile(reference)
    (condition,) = (await frame.status(reference))["conditions"]
    assert (condition["message"], condition["lastTransitionTime"]) == ("second", "2020-01-01T00:00:00Z")
    assert len(await events(frame)) == 1


@pytest.mark.parametrize("field", ["probedAt", "latencyMs"])
async def test_measurements_alone_are_not_worth_a_write(field: str):
    values = iter(("2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z") if field == "probedAt" else (5, 7))
    frame = Frame(toy(lambda _tool, _seen: Plan(READY.conditions, status={field: next(values)})))
    reference = frame.put(body("Tool"))
    await frame.reconcile(reference)
    writes = len(frame.api.writes)
    await frame.reconcile(reference)
    assert len(frame.api.writes) == writes


async def test_fields_that_are_no_longer_reported_go():
    plans = [
        Plan(READY.conditions, status={"functions": ["a"], "sandbox": "pod"}),
        Plan(READY.conditions, status={"sandbox": None}),
    ]
    frame = Frame(toy(lambda _tool, _seen: plans.pop(0)))
    reference = frame.put(body("Tool"))
    await frame.reconcile(reference)
    await frame.reconcile(reference)
    assert set(await frame.status(reference)) == {"conditions", "observedGeneration"}


async def test_a_spec_that_cannot_be_used_is_told_and_not_looked_at():
    frame = Frame(toy(always(READY)))
    reference = frame.put(body("Tool", spec={"description": "d"}))
    await frame.reconcile(reference)
    conditions = {one["type"]: one for one in (await frame.status(reference))["conditions"]}
    assert {kind: one["status"] for kind, one in conditions.items()} == {
        "Accepted": "False", "Reachable": "Unknown", "Ready": "False",
    }  # fmt: skip
    assert "spec: exactly one of http, openapi, mcp, plugin must be set" in conditions["Accepted"]["message"]


async def test_an_edit_while_it_is_looked_at_leaves_the_word_to_the_next_look():
    async def gather(_tool: Tool, seen: Seen) -> Seen:
        if seen.generation == 1:
            frame.put(body("Tool", spec={"description": "new", "plugin": {"name": "p"}}))
        return seen

    frame = Frame(toy(always(READY), gather=gather))
    reference = frame.put(body("Tool"))
    assert await frame.reconcile(reference) == 0
    assert frame.api.writes == []
    await frame.reconcile(reference)
    assert (await frame.status(reference))["observedGeneration"] == 2


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (UpstreamError("the API cannot be reached"), ("Unknown", "ReconcileFailed")),
        (ForbiddenError("pods is forbidden"), ("False", "Forbidden")),
        (ValueError("a fault"), ("Unknown", "ReconcileFailed")),
    ],
)
async def test_what_cannot_be_observed_is_told_and_tried_again_ever_later(error: Exception, expected: tuple[str, str]):
    failing = [True, True, True]

    async def gather(_tool: Tool, seen: Seen) -> Seen:
        if failing and failing.pop():
            raise error
        return seen

    frame = Frame(toy(always(READY), gather=gather))
    reference = frame.put(body("Tool"))
    waits = [await frame.reconcile(reference) for _ in range(3)]
    assert headline(await frame.status(reference)) == expected
    assert 500 <= waits[0] <= 1_500
    assert 2_000 <= waits[2] <= 6_000
    assert await frame.reconcile(reference) > 200_000
    assert headline(await frame.status(reference)) == ("True", "Ready")


async def test_a_failed_look_keeps_what_is_known():
    failing = [False, True]

    async def gather(_tool: Tool, seen: Seen) -> Seen:
        if failing.pop(0):
            raise UpstreamError("away")
        return seen

    frame = Frame(toy(always(Plan(READY.conditions, status={"functions": ["a"]})), gather=gather))
    reference = frame.put(body("Tool"))
    await frame.reconcile(reference)
    await frame.reconcile(reference)
    status = await frame.status(reference)
    assert status["functions"] == ["a"]
    assert [(one["type"], one["status"]) for one in status["conditions"]] == [("Accepted", "True"), ("Ready", "Unknown")]


async def test_owned_objects_belong_to_the_resource_and_go_when_not_wanted():
    plans = [Plan(READY.conditions, apply=[Owned(JOBS, job())]), Plan(READY.conditions, delete=[Owned(JOBS, job())])]
    frame = Frame(toy(lambda _tool, _seen: plans.pop(0)))
    reference = frame.put(body("Tool"))
    await frame.reconcile(reference)
    made = await frame.api.get(JOBS, "work", namespace="team")
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("Tool", "one", True)
    await frame.reconcile(reference)
    assert await frame.api.get(JOBS, "work", namespace="team") is None


async def test_an_object_that_the_server_refuses_becomes_the_headline():
    frame = Frame(toy(always(Plan(READY.conditions, apply=[Owned(JOBS, job())]))))
    frame.api.fail("apply", JOBS, InvalidRequestError('admission webhook "x" denied the request: too big'))
    reference = frame.put(body("Tool"))
    assert await frame.reconcile(reference) < 2_000
    assert headline(await frame.status(reference)) == ("False", "Refused")
    frame.api.fail("apply", JOBS, None)
    await frame.reconcile(reference)
    assert headline(await frame.status(reference)) == ("True", "Ready")


async def test_a_status_that_cannot_be_written_is_tried_again():
    frame = Frame(toy(always(READY)))
    reference = frame.put(body("Tool"))
    frame.api.fail("apply", TYPES["Tool"], UpstreamError("away"))
    assert await frame.reconcile(reference) < 2_000
    frame.api.fail("apply", TYPES["Tool"], None)
    await frame.reconcile(reference)
    assert headline(await frame.status(reference)) == ("True", "Ready")


async def test_an_event_that_cannot_be_posted_changes_nothing_else():
    frame = Frame(toy(always(READY)))
    frame.api.fail("create", EVENTS, ForbiddenError("events is forbidden"))
    reference = frame.put(body("Tool"))
    assert await frame.reconcile(reference) > 200_000
    assert headline(await frame.status(reference)) == ("True", "Ready")


async def test_one_that_was_deleted_meanwhile_is_left_alone():
    async def gather(_tool: Tool, seen: Seen) -> Seen:
        await frame.api.delete(TYPES["Tool"], "one", namespace="team")
        return seen

    frame = Frame(toy(always(READY), gather=gather))
    reference = frame.put(body("Tool"))
    await frame.reconcile(reference)
    assert await frame.api.get(TYPES["Tool"], "one", namespace="team") is None


async def test_what_is_gone_is_undone_outside_until_that_succeeds():
    undone: list[tuple[str, str]] = []
    failing = [True]

    async def forget(namespace: str, name: str) -> None:
        if failing:
            failing.pop()
            raise UpstreamError("the database is away")
        undone.append((namespace, name))

    frame = Frame(toy(always(READY), forget=forget))
    reference = Reference("Tool", "team", "gone")
    assert (await frame.reconcile(reference) or 0) > 0
    assert await frame.reconcile(reference) is None
    assert undone == [("team", "gone")]


async def test_conditions_are_counted_by_their_status():
    plans = [BROKEN, READY]
    frame = Frame(toy(lambda _tool, _seen: plans.pop(0)))
    reference = frame.put(body("Tool"))
    await frame.reconcile(reference)
    await frame.reconcile(reference)
    text = frame.metrics.render().decode()
    assert 'toolorchestra_operator_conditions{kind="Tool",status="True",type="Ready"} 1.0' in text
    assert 'toolorchestra_operator_conditions{kind="Tool",status="False",type="Ready"} 0.0' in text
    assert 'toolorchestra_operator_api_writes_total{kind="Tool",what="status"} 2.0' in text


async def test_a_kind_knows_whether_the_spec_is_new_to_it():
    fresh: list[bool] = []

    def decide(_tool: Tool, seen: Seen) -> Plan:
        fresh.append(seen.fresh)
        return READY

    frame = Frame(toy(decide))
    reference = frame.put(body("Tool"))
    await frame.reconcile(reference)
    await frame.reconcile(reference)
    frame.put(body("Tool", spec={"description": "new", "plugin": {"name": "p"}}))
    await frame.reconcile(reference)
    assert fresh == [True, False, True]
