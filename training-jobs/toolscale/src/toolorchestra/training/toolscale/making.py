"""Builds domains into folders, several at a time in processes of their own; what is built does not depend on how many."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any, Final, TypeAlias

from toolorchestra.training.toolscale.audit import Audit, audit
from toolorchestra.training.toolscale.building import Built, build_domain, write_domain
from toolorchestra.training.toolscale.domain import find_domain
from toolorchestra.training.toolscale.endpoint import Endpoint
from toolorchestra.training.toolscale.rewording import reword, widen
from toolorchestra.worlds.loading import TASKS, content_hash, load_tasks, load_world

BUILDING, REWORDING, CHECKING, DONE = "building", "rewording", "checking", "done"
HEARD_EVERY: Final = 10  # tasks
_LOOK_S: Final = 0.2
PARTIAL: Final = ".partial"


@dataclass(frozen=True, slots=True)
class Order:
    """One domain to build below ``folder``: ``count`` tasks from ``seed``, worded by a model too if there is an endpoint."""

    domain: str
    seed: int
    count: int
    folder: Path
    endpoint: Endpoint | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """A world as it was written. Hashes are 128 bits as hex; ``reworded`` counts what a model's wording came to, by reason."""

    domain: str
    content_hash: str
    tasks_hash: str
    tasks: int
    attempts: int
    drops: Mapping[str, int]
    audit: Audit
    reworded: Mapping[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For the manifest, without the name."""
        return {key: value for key, value in asdict(self).items() if key != "domain"}


@dataclass(frozen=True, slots=True)
class News:
    """How far a domain is: ``done`` tasks of this stage."""

    domain: str
    stage: str
    done: int = 0


Hear: TypeAlias = Callable[[News], None]


def make_all(orders: Sequence[Order], *, jobs: int, hear: Hear) -> list[Made]:
    """Build all of them, in the order given; up to ``jobs`` at the same time. The first that fails ends the others."""
    if jobs == 1 or len(orders) == 1:
        return [make(order, hear) for order in orders]
    context = get_context("spawn")  # a fork would copy threads and locks of whoever calls
    queue: SimpleQueue[News] = context.SimpleQueue()
    with ProcessPoolExecutor(min(jobs, len(orders)), mp_context=context, initializer=_begin, initargs=(queue,)) as pool:
        futures = [pool.submit(_make, order) for order in orders]
        try:
            _listen(futures, queue, hear)
            return [future.result() for future in futures]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def make(order: Order, hear: Hear) -> Made:
    """Build one domain, write its folder in place of an earlier one, and audit what stands there."""
    built, reworded = _built(order, hear)
    written = _replace(write_domain(built, order.folder / f"{built.domain.name}{PARTIAL}"), order.folder / built.domain.name)
    hear(News(order.domain, CHECKING, len(built.tasks)))
    found = audit(load_world(written), load_tasks(written))
    tasks = blake2b((written / TASKS).read_bytes(), digest_size=16).hexdigest()
    made = Made(order.domain, content_hash(written), tasks, len(built.tasks), built.attempts, built.drops, found, reworded)
    hear(News(order.domain, DONE, len(built.tasks)))
    return made


def _built(order: Order, hear: Hear) -> tuple[Built, Mapping[str, int]]:
    def tell(kept: int) -> None:
        if kept % HEARD_EVERY == 0:
            hear(News(order.domain, BUILDING, kept))

    domain = find_domain(order.domain)
    if order.endpoint is None:
        return build_domain(domain, seed=order.seed, count=order.count, progress=tell), {}
    with closing(order.endpoint.open()) as model:
        hear(News(order.domain, REWORDING))
        domain, taken = widen(domain, model)
        built = build_domain(domain, seed=order.seed, count=order.count, progress=tell)
        hear(News(order.domain, REWORDING, len(built.tasks)))
        said = reword(built.world, built.tasks, model)
    counts = {"requests": said.counts, "templates": taken}
    reworded = {f"{what}: {reason}": count for what, found in counts.items() for reason, count in found.items()}
    return replace(built, tasks=said.tasks), reworded


def _replace(written: Path, target: Path) -> Path:
    """Put a folder that is whole where it belongs."""
    shutil.rmtree(target, ignore_errors=True)
    written.rename(target)
    written.parent.rmdir()
    return target


def _listen(futures: Sequence[Future[Made]], queue: "SimpleQueue[News]", hear: Hear) -> None:
    """Hand on what processes tell, until all are done or one has failed."""
    while True:
        state = wait(futures, timeout=_LOOK_S, return_when=FIRST_EXCEPTION)
        while not queue.empty():
            hear(queue.get())
        if not state.not_done or any(future.exception() for future in state.done):
            return


_queue: "SimpleQueue[News] | None" = None


def _begin(queue: "SimpleQueue[News]") -> None:
    global _queue  # noqa: PLW0603 - a queue can be handed to a process only while it starts
    _queue = queue


def _make(order: Order) -> Made:
    return make(order, _queue.put if _queue is not None else lambda _: None)


def canonical(value: Any) -> str:
    """JSON as the files of a build hold it: the same value gives the same bytes."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
