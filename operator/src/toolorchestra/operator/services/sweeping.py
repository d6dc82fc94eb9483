"""A look at everything, at the start and at intervals: finds what watches missed, what is gone, what is held outside."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog

from toolorchestra.core.errors import NotFoundError, ToolOrchestraError
from toolorchestra.kit.kubernetes import KubernetesApi, KubernetesObject
from toolorchestra.operator.services.index import Index, reference_of
from toolorchestra.operator.services.kinds import Kind, Reference
from toolorchestra.operator.services.liveness import Watches
from toolorchestra.operator.services.noticing import Noticer
from toolorchestra.operator.services.queue import WorkQueue
from toolorchestra.operator.services.reconciling import jittered

logger = structlog.get_logger(__name__)

GRACE_S: Final = 10.0  # how far a watch may lag behind a list
RETRY_S: Final = 5.0


class Sweeper:
    """Lists what is watched. ``namespaces``: the watched ones; empty means all."""

    def __init__(
        self,
        api: KubernetesApi,
        index: Index,
        kinds: Mapping[str, Kind[Any, Any]],
        *,
        noticer: Noticer,
        queue: WorkQueue[Reference],
        watches: Watches,
        namespaces: Sequence[str],
        grace_s: float = GRACE_S,
    ) -> None:
        self._api = api
        self._index = index
        self._kinds = kinds
        self._noticer = noticer
        self._queue = queue
        self._watches = watches
        self._namespaces: Sequence[str | None] = tuple(namespaces) or (None,)
        self._grace_s = grace_s
        self.swept = False

    async def fill(self) -> None:
        """The first look, before anything is decided; tried until it succeeds."""
        while True:
            try:
                for kind in self._kinds.values():
                    for body in await self._list(kind):
                        self._noticer.resource(body)
                break
            except ToolOrchestraError as error:
                logger.warning("first_list_failed", reason=str(error))
                await asyncio.sleep(RETRY_S)
        self.swept = True

    async def run_forever(self, interval_ms: int) -> None:
        """Sweep at intervals."""
        while True:
            await asyncio.sleep(jittered(interval_ms) / 1_000)
            await self.sweep()

    async def sweep(self) -> None:
        """Bring the index up to date. A kind of which nothing was missed for longer than the grace gives a sign of life."""
        listed = {name: await self._try_list(name, kind) for name, kind in self._kinds.items()}
        await asyncio.sleep(self._grace_s)
        for name, bodies in listed.items():
            if bodies is not None and not await self._missed(self._kinds[name], bodies):
                self._watches.beat(name)

    async def _missed(self, kind: Kind[Any, Any], before: Sequence[KubernetesObject]) -> bool:
        """Whether the watch had told nothing of what the list showed; it is taken in."""
        missed = [body for body in before if self._noticer.resource(body)]
        there = {reference_of(body) for body in before}
        absent = [one for one in self._index if one.reference.kind == kind.of.kind and one.reference not in there]
        for entry in absent:
            missed += await self._if_gone(kind, entry.reference)
        if missed:
            logger.warning("watch_missed", kind=kind.of.kind, objects=len(missed))
        return bool(missed)

    async def _try_list(self, name: str, kind: Kind[Any, Any]) -> list[KubernetesObject] | None:
        try:
            return await self._list(kind)
        except ToolOrchestraError as error:
            logger.warning("list_failed", kind=name, reason=str(error))
            return None

    async def _if_gone(self, kind: Kind[Any, Any], reference: Reference) -> list[KubernetesObject]:
        """What the list did not show was made since, or is gone and the watch did not say so."""
        try:
            body = await self._api.get(kind.of, reference.name, namespace=reference.namespace)
        except ToolOrchestraError:
            return []  # the next sweep asks again
        entry = self._index.get(reference)
        if body is not None or entry is None or not self._noticer.resource_gone(reference):
            return []
        return [entry.body]

    async def _list(self, kind: Kind[Any, Any]) -> list[KubernetesObject]:
        try:
            found = [await self._api.list(kind.of, namespace=one) for one in self._namespaces]
        except NotFoundError:  # its CRD is not installed
            return []
        self._watches.expect(kind.of.kind)
        return [body for listing in found for body in listing.items]

    async def look_outside_forever(self, interval_ms: int) -> None:
        """Put on the queue what something outside the cluster holds for objects that are gone; sooner again if that failed."""
        while True:
            try:
                for name, kind in self._kinds.items():
                    await self._look_outside(name, kind)
            except ToolOrchestraError as error:
                logger.warning("outside_unknown", reason=str(error))
                await asyncio.sleep(RETRY_S)
                continue
            await asyncio.sleep(jittered(interval_ms) / 1_000)

    async def _look_outside(self, name: str, kind: Kind[Any, Any]) -> None:
        for namespace, held in await kind.outside() if kind.outside else ():
            reference = Reference(name, namespace, held)
            if self._index.get(reference) is None and self._watched(namespace):
                self._queue.add(reference)

    def _watched(self, namespace: str) -> bool:
        return self._namespaces == (None,) or namespace in self._namespaces
