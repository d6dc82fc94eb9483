"""What every ``KubernetesApi`` does: run on the fake by the unit tests and on a real API server by the controlplane tests.

The cases use kinds that any server has, in a namespace of their own.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest

from toolorchestra.core.errors import ConflictError, InvalidRequestError, NotFoundError
from toolorchestra.kit.kubernetes import (
    JOBS,
    SECRETS,
    Change,
    KubernetesApi,
    KubernetesObject,
    ResourceType,
    WatchEvent,
)

Case = Callable[[KubernetesApi, str], Awaitable[None]]

NO_SUCH_KIND = ResourceType("nowhere.example", "v1", "things", "Thing")


def secret(namespace: str, name: str = "one", labels: dict[str, str] | None = None, **data: str) -> KubernetesObject:
    metadata = {"name": name, "namespace": namespace} | ({"labels": labels} if labels else {})
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


def job(namespace: str, name: str = "work", *, parallelism: int = 1) -> KubernetesObject:
    """A suspended Job, so that nothing acts on it."""
    pod = {"containers": [{"name": "main", "image": "nowhere.example/image"}], "restartPolicy": "Never"}
    spec = {"suspend": True, "parallelism": parallelism, "template": {"spec": pod}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def condition(kind: str, reason: str) -> dict[str, str]:
    return {"type": kind, "status": "True", "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}


def status(namespace: str, *conditions: dict[str, str], name: str = "work", **fields: object) -> KubernetesObject:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "status": {"conditions": [*conditions], **fields}}


async def what_is_not_there_is_none(api: KubernetesApi, namespace: str) -> None:
    assert await api.get(SECRETS, "absent", namespace=namespace) is None
    assert await api.get(NO_SUCH_KIND, "absent", namespace=namespace) is None
    await api.delete(SECRETS, "absent", namespace=namespace)
    assert await api.log_tail("absent", namespace=namespace, lines=5) == ""


async def a_created_object_can_be_read_and_its_name_is_taken(api: KubernetesApi, namespace: str) -> None:
    made = await api.create(SECRETS, secret(namespace, a="QQ=="), namespace=namespace)
    read = await api.get(SECRETS, "one", namespace=namespace)
    assert read is not None
    assert read["data"] == {"a": "QQ=="}
    assert read["metadata"]["uid"] == made["metadata"]["uid"]
    with pytest.raises(ConflictError, match="already exists"):
        await api.create(SECRETS, secret(namespace), namespace=namespace)


async def a_list_selects_by_labels_and_by_fields(api: KubernetesApi, namespace: str) -> None:
    await api.create(SECRETS, secret(namespace, "one", {"team": "a"}), namespace=namespace)
    await api.create(SECRETS, secret(namespace, "two", {"team": "b"}), namespace=namespace)
    by_label = await api.list(SECRETS, namespace=namespace, labels={"team": "b"})
    by_field = await api.list(SECRETS, namespace=namespace, fields={"metadata.name": "one"})
    assert [one["metadata"]["name"] for one in by_label.items] == ["two"]
    assert [one["metadata"]["name"] for one in by_field.items] == ["one"]
    assert {(one["apiVersion"], one["kind"]) for one in by_field.items} == {("v1", "Secret")}


async def a_kind_that_the_server_lacks_is_told(api: KubernetesApi, namespace: str) -> None:
    assert await api.has(JOBS)
    assert not await api.has(NO_SUCH_KIND)
    with pytest.raises(NotFoundError):
        await api.list(NO_SUCH_KIND, namespace=namespace)


async def apply_makes_changes_and_takes_back_only_its_own_fields(api: KubernetesApi, namespace: str) -> None:
    await api.apply(SECRETS, secret(namespace, a="QQ==", b="Qg=="))
    changed = await api.apply(SECRETS, secret(namespace, b="Yg==", c="Qw=="))
    assert changed["data"] == {"b": "Yg==", "c": "Qw=="}


async def the_generation_counts_changes_of_the_spec_only(api: KubernetesApi, namespace: str) -> None:
    made = await api.apply(JOBS, job(namespace))
    assert made["metadata"]["generation"] == 1
    told = await api.apply(JOBS, status(namespace, condition("Suspended", "Told")), subresource="status")
    assert told["metadata"]["generation"] == 1
    edited = await api.apply(JOBS, job(namespace, parallelism=2))
    assert edited["metadata"]["generation"] == 2
    assert [one["type"] for one in edited["status"]["conditions"]] == ["Suspended"]


async def applying_the_same_again_changes_nothing(api: KubernetesApi, namespace: str) -> None:
    await api.apply(JOBS, job(namespace))
    first = await api.apply(JOBS, status(namespace, condition("Suspended", "Told")), subresource="status")
    again = await api.apply(JOBS, status(namespace, condition("Suspended", "Told")), subresource="status")
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def a_status_is_a_part_of_its_own(api: KubernetesApi, namespace: str) -> None:
    made = await api.apply(JOBS, job(namespace) | {"status": {"active": 3}})
    assert made.get("status", {}).get("active") is None
    with pytest.raises(NotFoundError):
        await api.apply(JOBS, status(namespace, name="absent"), subresource="status")


async def conditions_are_merged_by_their_type(api: KubernetesApi, namespace: str) -> None:
    await api.apply(JOBS, job(namespace))
    both = status(namespace, condition("One", "First"), condition("Two", "First"))
    await api.apply(JOBS, both, subresource="status")
    left = await api.apply(JOBS, status(namespace, condition("Two", "Second")), subresource="status")
    assert [(one["type"], one["reason"]) for one in left["status"]["conditions"]] == [("Two", "Second")]


async def an_object_of_the_same_name_is_not_taken_for_another(api: KubernetesApi, namespace: str) -> None:
    await api.apply(JOBS, job(namespace))
    body = status(namespace, condition("One", "First"))
    body["metadata"]["uid"] = "00000000-0000-0000-0000-000000000000"
    with pytest.raises((ConflictError, InvalidRequestError), match="uid"):
        await api.apply(JOBS, body, subresource="status")


async def a_watch_tells_what_happened_since(api: KubernetesApi, namespace: str) -> None:
    since = (await api.list(SECRETS, namespace=namespace)).resource_version
    await api.apply(SECRETS, secret(namespace, a="QQ=="))
    await api.apply(SECRETS, secret(namespace, a="Qg=="))
    await api.delete(SECRETS, "one", namespace=namespace)
    seen = await _take(api.watch(SECRETS, namespace=namespace, since=since, timeout_s=10), 3)
    assert [event.change for event in seen] == [Change.ADDED, Change.MODIFIED, Change.DELETED]
    assert seen[1].object["data"] == {"a": "Qg=="}


async def a_watch_tells_what_happens_while_it_waits(api: KubernetesApi, namespace: str) -> None:
    since = (await api.list(SECRETS, namespace=namespace)).resource_version
    waiting = asyncio.create_task(_take(api.watch(SECRETS, namespace=namespace, since=since, timeout_s=10), 1))
    await asyncio.sleep(0.05)
    await api.create(SECRETS, secret(namespace), namespace=namespace)
    assert [event.object["metadata"]["name"] for event in await waiting] == ["one"]


async def a_watch_ends_after_its_time(api: KubernetesApi, namespace: str) -> None:
    since = (await api.list(SECRETS, namespace=namespace)).resource_version
    async with asyncio.timeout(10):
        seen = [event async for event in api.watch(SECRETS, namespace=namespace, since=since, timeout_s=1)]
    assert {event.change for event in seen} <= {Change.BOOKMARK}


async def what_an_object_owned_goes_with_it(api: KubernetesApi, namespace: str) -> None:
    owner = await api.create(SECRETS, secret(namespace, "owner"), namespace=namespace)
    child = secret(namespace, "child")
    reference = {"apiVersion": "v1", "kind": "Secret", "name": "owner", "uid": owner["metadata"]["uid"]}
    child["metadata"]["ownerReferences"] = [reference]
    await api.create(SECRETS, child, namespace=namespace)
    await api.delete(SECRETS, "owner", namespace=namespace)
    async with asyncio.timeout(30):
        while await api.get(SECRETS, "child", namespace=namespace) is not None:
            await asyncio.sleep(0.1)


CASES: tuple[Case, ...] = (
    what_is_not_there_is_none,
    a_created_object_can_be_read_and_its_name_is_taken,
    a_list_selects_by_labels_and_by_fields,
    a_kind_that_the_server_lacks_is_told,
    apply_makes_changes_and_takes_back_only_its_own_fields,
    the_generation_counts_changes_of_the_spec_only,
    applying_the_same_again_changes_nothing,
    a_status_is_a_part_of_its_own,
    conditions_are_merged_by_their_type,
    an_object_of_the_same_name_is_not_taken_for_another,
    a_watch_tells_what_happened_since,
    a_watch_tells_what_happens_while_it_waits,
    a_watch_ends_after_its_time,
    what_an_object_owned_goes_with_it,
)


async def _take(events: AsyncIterator[WatchEvent], count: int) -> list[WatchEvent]:
    """The first ``count`` changes; bookmarks do not count."""
    taken: list[WatchEvent] = []
    async with asyncio.timeout(15):
        async for event in events:
            if event.change is not Change.BOOKMARK:
                taken.append(event)
            if len(taken) == count:
                break
    with suppress(AttributeError):
        await events.aclose()  # type: ignore[attr-defined]
    return taken
