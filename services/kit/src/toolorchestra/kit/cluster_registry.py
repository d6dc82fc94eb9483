"""The registry of a cluster: resources are objects of the API server, listed once and watched from then on.

While the API server is away the last catalog is served on. What is observed comes from ``status``, written by the operator;
what nobody has observed after a grace is left to this process to look at. Nothing is ever written to the API server.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import Final, Self, TypeAlias

import structlog

from toolorchestra.core.crds import NAMES
from toolorchestra.core.errors import NotFoundError, ToolOrchestraError
from toolorchestra.core.registry import Catalog, Identity, Observation
from toolorchestra.core.resources.meta import API_VERSION, GROUP
from toolorchestra.kit.cluster_holdings import Holdings, identity_of
from toolorchestra.kit.kubernetes import Change, ExpiredError, KubernetesApi, ResourceType, WatchEvent

_KINDS: Final = ("Tool", "ExpertModel", "Orchestrator", "BudgetPolicy")
WATCHED: Final = tuple(ResourceType(GROUP, API_VERSION.removeprefix(f"{GROUP}/"), NAMES[kind].plural, kind) for kind in _KINDS)
BATCH_S: Final = 0.05  # a thousand objects applied at once become some twenty catalogs
GRACE_S: Final = 5.0  # which the operator has to observe a new spec
AGAIN_S: Final = 30.0  # between looks of our own at the same object
WATCH_S: Final = (60, 90)  # a watch ends by itself, so a connection that died silently is found
BACK_OFF_S: Final = (0.25, 5.0)
RELIST_AFTER: Final = 5  # failed watches in a row
CHUNK: Final = 20  # objects parsed before others get their turn

_Part: TypeAlias = tuple[ResourceType, str | None]  # a kind, in one namespace or in all

logger = structlog.get_logger(__name__)


class ClusterRegistry:
    """Implements ``core.registry.WatchedRegistry``. ``namespaces``: only these; empty means all.

    As an async context manager it watches. Used from the event loop's thread.
    """

    def __init__(
        self, api: KubernetesApi, *, namespaces: Sequence[str] = (), grace_s: float = GRACE_S, again_s: float = AGAIN_S
    ) -> None:
        self._api = api
        self._parts: tuple[_Part, ...] = tuple((of, space) for of in WATCHED for space in namespaces or (None,))
        self._grace_s = grace_s
        self._again_s = again_s
        self._holdings = Holdings()
        self._catalog = Catalog(version=1)
        self._listed: set[_Part] = set()
        self._trouble: dict[_Part, str] = {}
        self._dirty = asyncio.Event()
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def catalog(self) -> Catalog:
        """The newest consistent view."""
        return self._catalog

    async def changed(self, since: int) -> Catalog:
        """Wait until the version is no longer ``since`` and return the catalog."""
        while self._catalog.version == since:
            await self._changed.wait()
        return self._catalog

    def observe(self, seen: Mapping[Identity, Observation]) -> None:
        """Keep in memory what this process saw, until the operator says something newer."""
        look_at = time.monotonic() + self._again_s
        for key, observation in seen.items():
            if self._holdings.observe(key, observation, look_at=look_at):
                self._dirty.set()

    def due(self) -> Catalog:
        """What the operator has not observed within the grace."""
        return self._holdings.due(time.monotonic())

    def first_hashes(self) -> Mapping[Identity, Mapping[str, str]]:
        """The hashes of the operations in ``status``, of whatever generation."""
        return self._holdings.first_hashes()

    def not_ready(self) -> str | None:
        """What the first list still lacks, and why."""
        missing = [part for part in self._parts if part not in self._listed]
        if not missing:
            return None
        reason = next((self._trouble[part] for part in missing if part in self._trouble), "it is being read")
        return f"the first list of {', '.join(sorted({of.plural for of, _ in missing}))} is not complete: {reason}"

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._follow(part), name=f"watch {part[0].plural}") for part in self._parts]
        self._tasks.append(asyncio.create_task(self._publish_changes(), name="catalog"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self, part: _Part) -> None:
        """Keep up with one kind for ever: list, watch from there, and after a failure go on from the last version seen."""
        since: str | None = None
        failures = 0
        while True:
            try:
                if since is None:
                    since = await self._list(part)
                    self._well(part)
                async for event in self._watch(part, since):
                    since = event.object["metadata"]["resourceVersion"]
                    self._take(event)
                    self._well(part)
                    failures = 0
                failures = 0
                self._well(part)
                await asyncio.sleep(random.uniform(0, BATCH_S))  # a server that ends watches at once is not hammered
            except ExpiredError:
                since = None
                await asyncio.sleep(random.uniform(0, BACK_OFF_S[0]))
            except ToolOrchestraError as error:
                failures += 1
                since = None if failures % RELIST_AFTER == 0 else since
                self._ill(part, error)
                await asyncio.sleep(_pause(failures))

    def _watch(self, part: _Part, since: str) -> AsyncIterator[WatchEvent]:
        of, namespace = part
        return self._api.watch(of, namespace=namespace, since=since, timeout_s=random.randint(*WATCH_S))

    async def _list(self, part: _Part) -> str:
        """Take a complete list; the version from which to watch. What is unchanged since the last one is not read again."""
        of, namespace = part
        listing = await self._api.list(of, namespace=namespace)
        present = {identity_of(document) for document in listing.items}
        changed = self._holdings.keep_only(of.kind, namespace, present)
        for number, document in enumerate(listing.items):
            changed |= self._holdings.put(document, look_at=self._grace_ends())
            if number % CHUNK == CHUNK - 1:
                await asyncio.sleep(0)
        if changed:
            self._publish()  # before the list counts as complete: who is ready has it
        self._listed.add(part)
        return listing.resource_version

    def _take(self, event: WatchEvent) -> None:
        match event.change:
            case Change.BOOKMARK:
                return
            case Change.DELETED:
                changed = self._holdings.remove(identity_of(event.object))
            case Change.ADDED | Change.MODIFIED:
                changed = self._holdings.put(event.object, look_at=self._grace_ends())
        if changed:
            self._dirty.set()

    def _grace_ends(self) -> float:
        return time.monotonic() + self._grace_s

    async def _publish_changes(self) -> None:
        """At once after a change, and then not again for a moment."""
        while True:
            await self._dirty.wait()
            self._publish()
            await asyncio.sleep(BATCH_S)

    def _publish(self) -> None:
        self._dirty.clear()
        self._catalog = self._holdings.catalog(self._catalog.version + 1)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _ill(self, part: _Part, error: ToolOrchestraError) -> None:
        of, namespace = part
        hint = "install the chart toolorchestra-crds" if isinstance(error, NotFoundError) else error.hint
        reason = f"{error.message} ({hint})" if hint else error.message
        if part not in self._trouble:
            logger.warning("watch_interrupted", kind=of.kind, namespace=namespace, reason=reason)
        self._trouble[part] = reason

    def _well(self, part: _Part) -> None:
        if self._trouble.pop(part, None) is not None:
            logger.info("watch_resumed", kind=part[0].kind, namespace=part[1])


def _pause(failures: int) -> float:
    least, most = BACK_OFF_S
    return min(most, least * 2.0 ** min(failures, 10)) * random.uniform(0.5, 1.0)
