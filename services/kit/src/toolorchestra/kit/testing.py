"""Stand-ins for the seams of this package, for tests."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from copy import deepcopy
from fnmatch import fnmatchcase
from functools import reduce
from typing import Any, Final, TypeAlias

from toolorchestra.core.errors import ConflictError, InvalidRequestError, NotFoundError, ToolOrchestraError
from toolorchestra.kit.kubernetes import (
    ACCESS_REVIEWS,
    EVENTS,
    JOBS,
    PODS,
    SECRETS,
    TOKEN_REVIEWS,
    Change,
    ExpiredError,
    KubernetesObject,
    Listing,
    ResourceType,
    WatchEvent,
)
from toolorchestra.kit.signals import Listeners, Signal, Subscription


class MemorySignals:
    """A signal bus inside one process. ``published`` holds all that was sent; ``lose`` acts out a lost connection."""

    def __init__(self) -> None:
        self.published: list[Signal] = []
        self._listeners = Listeners()

    async def publish(self, channel: str, payload: bytes | str = b"") -> None:
        signal = Signal(channel, payload.encode() if isinstance(payload, str) else payload)
        self.published.append(signal)
        for subscribed in self._listeners.channels():
            if fnmatchcase(channel, subscribed):
                self._listeners.deliver(subscribed, signal)

    @asynccontextmanager
    async def subscribe(self, *channels: str) -> AsyncIterator[Subscription]:
        subscription = Subscription()
        self._listeners.add(subscription, channels)
        try:
            yield subscription
        finally:
            self._listeners.remove(subscription, channels)

    def lose(self) -> None:
        """Tell all listeners that signals may have been lost."""
        for channel in self._listeners.channels():
            self._listeners.deliver(channel, Signal(channel, gap=True))

    async def close(self) -> None: ...


Path: TypeAlias = tuple[str, ...]
Review: TypeAlias = Callable[[ResourceType, KubernetesObject], KubernetesObject]

_KEYED_LISTS: Final = {"conditions": "type", "ownerReferences": "uid"}  # server-side apply merges these by key
_OWN_FIELDS: Final = ("uid", "resourceVersion", "generation", "creationTimestamp")  # of metadata; the server's alone


class MemoryKubernetes:
    """A small API server in memory: versions, generations, status as a subresource, watches, server-side apply.

    ``reviews`` answers created token and access reviews with their status. ``writes`` notes (verb, plural, name) of each
    request that may change something; ``fail`` makes requests fail; ``logs`` holds pods' logs by (namespace, pod).
    What real servers do beyond that is not played: no schemas, no defaults, no admission, no controllers but the one that
    deletes what a deleted object owned.
    """

    def __init__(self, *kinds: ResourceType, field_manager: str = "test", reviews: Review | None = None) -> None:
        self.writes: list[tuple[str, str, str]] = []
        self.logs: dict[tuple[str, str], str] = {}
        self._served = {EVENTS, JOBS, PODS, SECRETS, *kinds}
        self._field_manager = field_manager
        self._reviews = reviews
        self._objects: dict[tuple[ResourceType, str | None, str], KubernetesObject] = {}
        self._owned: dict[tuple[str, str], set[Path]] = {}  # the leaves that a manager applied: (uid, manager+subresource)
        self._failures: dict[tuple[str, str], ToolOrchestraError] = {}
        self._history: list[tuple[int, ResourceType, WatchEvent]] = []
        self._version = 0
        self._forgotten = 0
        self._moved = asyncio.Event()

    def serve(self, *kinds: ResourceType) -> None:
        """Install the CRDs of these kinds."""
        self._served.update(kinds)

    def fail(self, verb: str, of: ResourceType, error: ToolOrchestraError | None) -> None:
        """Refuse requests of a kind by verb (``get list watch apply create delete``) from now on; None ends it."""
        if error is None:
            self._failures.pop((verb, of.plural), None)
        else:
            self._failures[verb, of.plural] = error

    def forget_history(self) -> None:
        """Compact: watches from before now are refused with 410."""
        self._forgotten, self._history = self._version, []

    def put(self, of: ResourceType, body: KubernetesObject) -> KubernetesObject:
        """Write an object as a user's client does: created, or its labels, annotations and spec replaced."""
        key = self._key(of, body)
        old = self._objects.get(key)
        if old is None:
            return self._insert(key, body)
        new = {**deepcopy(body), "metadata": old["metadata"] | _free(body["metadata"])}
        return self._store(key, new | ({"status": old["status"]} if "status" in old else {}))

    async def get(self, of: ResourceType, name: str, *, namespace: str | None) -> KubernetesObject | None:
        self._enter("get", of)
        found = self._objects.get((of, namespace, name)) if of in self._served else None
        return deepcopy(found)

    async def list(
        self,
        of: ResourceType,
        *,
        namespace: str | None,
        labels: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> Listing:
        self._enter("list", of)
        self._need(of)
        found = (one for key, one in self._objects.items() if key[0] == of and namespace in (None, key[1]))
        return Listing([deepcopy(one) for one in found if _selected(one, labels, fields)], str(self._version))

    async def watch(self, of: ResourceType, *, namespace: str | None, since: str, timeout_s: int) -> AsyncIterator[WatchEvent]:
        self._enter("watch", of)
        self._need(of)
        seen, end = int(since), time.monotonic() + timeout_s
        while True:
            if seen < self._forgotten:
                raise ExpiredError(f"too old resource version: {seen} ({self._forgotten})")
            moved = self._moved
            for version, _, event in [one for one in self._history if one[0] > seen and one[1] == of]:
                seen = version
                if namespace in (None, event.object["metadata"].get("namespace")):
                    yield deepcopy(event)
            seen = max(seen, self._version)
            try:
                await asyncio.wait_for(moved.wait(), max(0.0, end - time.monotonic()))
            except TimeoutError:
                break
        mark = {"apiVersion": of.api_version, "kind": of.kind, "metadata": {"resourceVersion": str(seen)}}
        yield WatchEvent(Change.BOOKMARK, mark)

    async def apply(self, of: ResourceType, body: KubernetesObject, *, subresource: str | None = None) -> KubernetesObject:
        self._enter("apply", of, body["metadata"]["name"])
        self._need(of)
        key = self._key(of, body)
        old = self._objects.get(key)
        wanted = _writable(body, subresource)
        if old is None:
            if subresource:
                raise NotFoundError(f'{of.plural}.{of.group} "{key[2]}" not found')
            stored = self._insert(key, wanted)
            self._owned[stored["metadata"]["uid"], self._field_manager] = set(_leaves(wanted))
            return deepcopy(stored)
        uid = old["metadata"]["uid"]
        if body["metadata"].get("uid", uid) != uid:
            raise ConflictError(f"Operation cannot be fulfilled: uid mismatch: {body['metadata']['uid']}, {uid}")
        mine = (uid, self._field_manager + (subresource or ""))
        before, now = self._owned.get(mine, set()), set(_leaves(wanted))
        others = {path for owner, paths in self._owned.items() if owner[0] == uid and owner != mine for path in paths}
        new = deepcopy(old)
        for path in sorted(before - now - others, reverse=True):
            _drop(new, path)
        self._owned[mine] = now
        return deepcopy(self._store(key, _merged(new, wanted)))

    async def create(self, of: ResourceType, body: KubernetesObject, *, namespace: str | None) -> KubernetesObject:
        if of in (TOKEN_REVIEWS, ACCESS_REVIEWS):
            if self._reviews is None:
                raise InvalidRequestError("this server answers no reviews; give it some")
            return body | {"status": self._reviews(of, body)}
        name = body["metadata"].get("name") or f"{body['metadata']['generateName']}{self._version}"
        self._enter("create", of, name)
        self._need(of)
        if (of, namespace, name) in self._objects:
            raise ConflictError(f'{of.plural} "{name}" already exists')
        named = {**body, "metadata": {**body["metadata"], "name": name, **({"namespace": namespace} if namespace else {})}}
        return deepcopy(self._insert((of, namespace, name), named))

    async def delete(self, of: ResourceType, name: str, *, namespace: str | None) -> None:
        self._enter("delete", of, name)
        gone = self._objects.pop((of, namespace, name), None)
        if gone is None:
            return
        self._tell(of, Change.DELETED, gone)
        uid = gone["metadata"]["uid"]
        owned = [key for key, one in self._objects.items() if any(ref["uid"] == uid for ref in _owners(one))]
        for child, space, child_name in owned:
            await self.delete(child, child_name, namespace=space)

    async def log_tail(self, pod: str, *, namespace: str, lines: int, container: str | None = None) -> str:
        del container
        return "".join(self.logs.get((namespace, pod), "").splitlines(keepends=True)[-lines:])

    async def has(self, of: ResourceType) -> bool:
        return of in self._served

    def _enter(self, verb: str, of: ResourceType, name: str | None = None) -> None:
        if name is not None:
            self.writes.append((verb, of.plural, name))
        if (error := self._failures.get((verb, of.plural))) is not None:
            raise error

    def _need(self, of: ResourceType) -> None:
        if of not in self._served:
            raise NotFoundError("the server could not find the requested resource")

    def _key(self, of: ResourceType, body: KubernetesObject) -> tuple[ResourceType, str | None, str]:
        return of, body["metadata"].get("namespace"), body["metadata"]["name"]

    def _insert(self, key: tuple[ResourceType, str | None, str], body: KubernetesObject) -> KubernetesObject:
        own = {"uid": f"uid-{self._version + 1}", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"}
        metadata = deepcopy(_free(body["metadata"])) | own
        whole = {"apiVersion": key[0].api_version, "kind": key[0].kind} | deepcopy(_writable(body, None))
        return self._store(key, whole | {"metadata": metadata})

    def _store(self, key: tuple[ResourceType, str | None, str], new: KubernetesObject) -> KubernetesObject:
        old = self._objects.get(key)
        if old is not None:
            if new == old:
                return old
            generation = old["metadata"]["generation"] + (_desired(new) != _desired(old))
            new = new | {"metadata": new["metadata"] | {"generation": generation}}
        new["metadata"]["resourceVersion"] = str(self._version + 1)
        self._objects[key] = new
        self._tell(key[0], Change.ADDED if old is None else Change.MODIFIED, new)
        return new

    def _tell(self, of: ResourceType, change: Change, one: KubernetesObject) -> None:
        self._version += 1
        one["metadata"]["resourceVersion"] = str(self._version)
        self._history.append((self._version, of, WatchEvent(change, deepcopy(one))))
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


def _writable(body: KubernetesObject, subresource: str | None) -> KubernetesObject:
    """What a request may change: the named part, or all but ``status``; never what is the server's."""
    if subresource:
        return {subresource: deepcopy(body.get(subresource, {}))}
    rest = {key: deepcopy(value) for key, value in body.items() if key != "status"}
    return rest | {"metadata": _free(rest["metadata"])}


def _free(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if key not in _OWN_FIELDS}


def _desired(one: KubernetesObject) -> KubernetesObject:
    return {key: value for key, value in one.items() if key not in ("metadata", "status")}


def _selected(one: KubernetesObject, labels: Mapping[str, str] | None, fields: Mapping[str, str] | None) -> bool:
    own = one["metadata"].get("labels") or {}
    by_label = all(own.get(key) == value for key, value in (labels or {}).items())
    return by_label and all(_at(one, path.split(".")) == value for path, value in (fields or {}).items())


def _at(one: Any, path: list[str]) -> Any:
    return reduce(lambda held, part: held.get(part, {}), path, one)


def _owners(one: KubernetesObject) -> list[dict[str, Any]]:
    return one["metadata"].get("ownerReferences") or []


def _leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    match value:
        case dict() if value:
            for key, item in value.items():
                yield from _leaves(item, (*path, key))
        case list() if path and path[-1] in _KEYED_LISTS:
            for item in value:
                yield from _leaves(item, (*path, item[_KEYED_LISTS[path[-1]]]))
        case _:
            yield path


def _drop(one: Any, path: Path, name: str = "") -> None:
    """Remove a leaf, and what holds it as far as that is left empty; an item of a keyed list goes with its key."""
    head, rest = path[0], path[1:]
    place: int | str | None = head if head in one else None
    if isinstance(one, list):
        place = next((n for n, item in enumerate(one) if item.get(_KEYED_LISTS[name]) == head), None)
        rest = () if rest == (_KEYED_LISTS[name],) else rest
    if place is None:
        return
    if rest:
        _drop(one[place], rest, head)
    if not rest or one[place] in ({}, []):
        del one[place]


def _merged(old: Any, new: Any, name: str = "") -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: _merged(old.get(key), value, key) for key, value in new.items()}}
    if isinstance(old, list) and isinstance(new, list) and name in _KEYED_LISTS:
        key = _KEYED_LISTS[name]
        held = {item[key]: item for item in old}
        return list((held | {item[key]: _merged(held.get(item[key]), item) for item in new}).values())
    return deepcopy(new)
