"""The registry of a laptop: resources are manifests in folders, read again when they change."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import structlog
from watchfiles import awatch

from toolorchestra.core.registry import Catalog, Identity, Key, Observation, hashes_in
from toolorchestra.core.resources import BudgetPolicy, ExpertModel, Orchestrator, Resource, Tool
from toolorchestra.kit.manifests import Manifests, read_folders
from toolorchestra.kit.observations import ObservationFile

_R = TypeVar("_R", bound=Resource)


class FileRegistry:
    """Implements ``core.registry.WatchedRegistry`` over ``*.yaml`` and ``*.yml`` files below some folders.

    Built, it has read the folders once. As an async context manager it watches them; a missed change is found within
    ``poll_ms``. Apart from ``catalog`` it is used from the event loop's thread. ``status_file`` keeps what was observed.
    """

    def __init__(self, folders: Sequence[Path], *, status_file: Path | None = None, poll_ms: int = 2_000) -> None:
        self._folders = tuple(folder.resolve() for folder in folders)
        self._poll_ms = poll_ms
        self._observations = ObservationFile(status_file)
        self._manifests = read_folders(self._folders, Manifests())
        self._catalog = self._build(version=1)
        self._changed = asyncio.Event()
        self._reading = asyncio.Lock()
        self._watcher: asyncio.Task[None] | None = None

    def catalog(self) -> Catalog:
        """The newest consistent view."""
        return self._catalog

    @property
    def version(self) -> int:
        """Increases with every change of resources, problems or observations."""
        return self._catalog.version

    @property
    def secret_documents(self) -> tuple[Mapping[str, Any], ...]:
        """The ``kind: Secret`` manifests, as written."""
        return self._manifests.secrets

    def resources(self) -> tuple[Resource, ...]:
        """All resources, also of kinds that a catalog does not show."""
        return tuple(self._manifests.resources.values())

    async def changed(self, since: int) -> Catalog:
        """Wait until the version is no longer ``since`` and return the catalog."""
        while self._catalog.version == since:
            await self._changed.wait()
        return self._catalog

    def observe(self, seen: Mapping[Identity, Observation]) -> None:
        """Note what was observed of resources; one that has meanwhile gone is passed over."""
        resources, known = self._manifests.resources, self._catalog.observed
        news = {key: one for key, one in seen.items() if key in resources and not one.alike(known.get(key))}
        if news:
            self._observations.put(news, resources)
            self._publish()

    def due(self) -> Catalog:
        """Everything: on a laptop there is nobody else."""
        return self._catalog

    def first_hashes(self) -> Mapping[Identity, Mapping[str, str]]:
        """Those of the observations that still hold."""
        return hashes_in(self._catalog.observed)

    def not_ready(self) -> str | None:
        """Never: it has read its folders before it exists."""
        return None

    async def reload(self) -> None:
        """Read what has changed now instead of waiting for the watcher."""
        async with self._reading:
            manifests = await asyncio.to_thread(read_folders, self._folders, self._manifests)
            if manifests is not self._manifests:
                self._manifests = manifests
                self._publish()

    async def __aenter__(self) -> Self:
        self._watcher = asyncio.create_task(self._watch(), name="manifests")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            try:
                await self._follow()
            except OSError as error:
                structlog.get_logger(__name__).warning("manifests are polled, not watched", reason=str(error))
            await asyncio.sleep(self._poll_ms / 1000)

    async def _follow(self) -> None:
        """Follow the folders that exist, until there are others; those that do not are found by polling."""
        await self.reload()
        existing = self._existing()
        if not existing:
            return
        async for _ in awatch(*existing, rust_timeout=self._poll_ms, yield_on_timeout=True, step=50, debounce=200):
            await self.reload()
            if existing != self._existing():
                return

    def _existing(self) -> list[Path]:
        return [folder for folder in self._folders if folder.is_dir()]

    def _publish(self) -> None:
        self._catalog = self._build(version=self._catalog.version + 1)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _build(self, *, version: int) -> Catalog:
        resources = self._manifests.resources
        return Catalog(
            version=version,
            tools=_of(Tool, resources),
            experts=_of(ExpertModel, resources),
            orchestrators=_of(Orchestrator, resources),
            budgets=_of(BudgetPolicy, resources),
            observed=self._observations.of(resources),
            problems=self._manifests.problems,
        )


def _of(kind: type[_R], resources: Mapping[Identity, Resource]) -> dict[Key, _R]:
    return {key[1:]: resource for key, resource in resources.items() if isinstance(resource, kind)}
