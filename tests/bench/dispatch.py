"""Dispatching a call through Celery beside a hand-written loop that writes the same two rows, claim and finish.

Through Celery a call id is published, a worker process claims, executes and finishes it, and its signal resolves the waiter. The
hand-written loop does the same work in this process: a queue in memory, the same claim, the same executor, the same finish. A
loop without rows is printed for information. Run it with ``python -m tests.bench.dispatch``; it prints ratios and never fails
on seconds.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.integration.worker.harness import CALCULATOR, Desk, WorkerProcess, function_of
from tests.support.services import running
from toolorchestra.cli.embedded.postgres import postgres_part, postgres_url
from toolorchestra.cli.embedded.valkey import valkey_part
from toolorchestra.core.calls import CallRequest, Executor, Outcome
from toolorchestra.core.functions import Function
from toolorchestra.executors.factory import open_toolbox
from toolorchestra.kit.egress import EgressGuard
from toolorchestra.kit.secrets import EnvironmentSecrets
from toolorchestra.ledger import calls
from toolorchestra.ledger.calls import Claim
from toolorchestra.ledger.database import Database
from toolorchestra.ledger.schema import migrate

AT_ONCE = 16
CONNECTIONS = 8
ARGUMENTS = {"expression": "6 * 7"}

Dispatch = Callable[[str], Awaitable[object]]


class Waiters:
    """One subscription for the process, which resolves whoever waits for a call; as an orchestrator's replica does."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._waiting: dict[str, asyncio.Future[None]] = {}

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Waiters"]:
        async with self._desk.signals.subscribe("toolorchestra:calls:*") as subscription:

            async def resolve() -> None:
                async for signal in subscription:
                    waiter = self._waiting.pop(signal.payload.decode(), None)
                    if waiter is not None:
                        waiter.set_result(None)

            reader = asyncio.create_task(resolve())
            yield self
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def dispatch(self, call_id: str) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[call_id] = waiter
        await self._desk.publish(call_id)
        await waiter


class Loop:
    """The hand-written loop: a queue in memory and some takers."""

    def __init__(self, work: Dispatch) -> None:
        self._work = work
        self._queue: asyncio.Queue[tuple[str, asyncio.Future[None]]] = asyncio.Queue()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Loop"]:
        takers = [asyncio.create_task(self._take()) for _ in range(AT_ONCE)]
        yield self
        for taker in takers:
            taker.cancel()
        await asyncio.gather(*takers, return_exceptions=True)

    async def dispatch(self, call_id: str) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await self._queue.put((call_id, done))
        await done

    async def _take(self) -> None:
        while True:
            call_id, done = await self._queue.get()
            await self._work(call_id)
            done.set_result(None)


@dataclass
class Way:
    """One way to dispatch, and what it took: milliseconds per call, one at a time and sixteen at once; calls per second."""

    name: str
    dispatch: Dispatch
    idle_ms: list[float] = field(default_factory=list)
    busy_ms: list[float] = field(default_factory=list)
    busy_s: float = 0.0

    async def one(self, call_id: str) -> float:
        began = time.perf_counter()
        await self.dispatch(call_id)
        return (time.perf_counter() - began) * 1_000

    async def measure(self, idle: Sequence[str], busy: Sequence[str]) -> None:
        self.idle_ms += [await self.one(call_id) for call_id in idle]
        waiting = list(reversed(busy))

        async def client() -> None:
            while waiting:
                self.busy_ms.append(await self.one(waiting.pop()))

        began = time.perf_counter()
        await asyncio.gather(*(client() for _ in range(AT_ONCE)))
        self.busy_s += time.perf_counter() - began

    @property
    def idle(self) -> float:
        return statistics.median(self.idle_ms)

    @property
    def busy(self) -> float:
        return statistics.median(self.busy_ms)

    @property
    def per_second(self) -> float:
        return len(self.busy_ms) / self.busy_s

    def __str__(self) -> str:
        return (
            f"{self.name:<34} idle p50 {self.idle:6.2f} ms   {AT_ONCE} at once p50 {self.busy:7.2f} ms   "
            f"{self.per_second:7.0f}/s"
        )


class ByHand:
    """What a hand-written worker does with a call id: the two rows and the work, without leases, spans or patience."""

    def __init__(self, database: Database, executor: Executor, function: Function) -> None:
        self._database = database
        self._executor = executor
        self._function = function

    async def with_rows(self, call_id: str) -> None:
        async with self._database.system() as connection:
            claim = await calls.claim(connection, call_id, lease_ms=15_000)
        assert isinstance(claim, Claim)
        outcome = await self.without_rows(call_id)
        (stored, *_) = await self._database.execute(calls.finish_steps(call_id, claim.attempt, outcome))
        assert stored

    async def without_rows(self, call_id: str) -> Outcome:
        request = CallRequest(call_id, "run", "acme", self._function, ARGUMENTS, 1, call_id, timeout_ms=10_000)
        return await self._executor.execute(request)


@asynccontextmanager
async def ways(desk: Desk, url: str, function: Function) -> AsyncIterator[list[Way]]:
    async with AsyncExitStack() as stack:
        toolbox = await stack.enter_async_context(open_toolbox(EgressGuard(()), EnvironmentSecrets({})))
        database = await stack.enter_async_context(await Database.open(url, max_size=CONNECTIONS))
        by_hand = ByHand(database, toolbox.executors, function)
        celery = await stack.enter_async_context(Waiters(desk).listening())
        rows = await stack.enter_async_context(Loop(by_hand.with_rows).running())
        bare = await stack.enter_async_context(Loop(by_hand.without_rows).running())
        yield [
            Way("Celery, another process", celery.dispatch),
            Way("hand-written loop, same two rows", rows.dispatch),
            Way("hand-written loop without rows", bare.dispatch),
        ]


async def measure(desk: Desk, url: str, rounds: int, count: int) -> None:
    function = function_of("calculator", **CALCULATOR)
    async with ways(desk, url, function) as found:
        for number in range(rounds + 1):
            for way in found:
                ids = await desk.store(function, ARGUMENTS, count=count * 3, timeout_ms=120_000)
                await way.measure(ids[:count], ids[count:])
            if number == 0:  # connections, caches and threads are made in the first round
                found[:] = [Way(way.name, way.dispatch) for way in found]
    celery, rows, _ = found
    for way in found:
        print(way)
    print(
        f"Celery over the loop with rows: idle {celery.idle / rows.idle:.2f}x, {AT_ONCE} at once {celery.busy / rows.busy:.2f}x "
        "(aim <= 1.3x)"
    )


async def compare(url: str, broker: str, options: argparse.Namespace) -> None:
    async with Desk.open(url, broker) as desk:
        await measure(desk, url, options.rounds, options.calls)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often the ways take turns")
    parser.add_argument(
        "--calls", type=int, default=32, help="calls of each way and round, one at a time; twice as many at once"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="to-bench-", ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        data = Path(folder)
        data.chmod(0o755)
        stack.enter_context(running(postgres_part(data / "pg"), log=data / "postgres.log"))
        valkey = stack.enter_context(running(valkey_part(data / "valkey"), log=data / "valkey.log"))
        url = postgres_url(data / "pg", database="postgres")
        asyncio.run(migrate(url))
        worker = WorkerProcess(
            data, database_url=url, broker_url=valkey.url, signal_url=valkey.url, database_connections=CONNECTIONS,
            log__level="warning",
        )  # fmt: skip
        stack.callback(worker.end)
        worker.start()
        asyncio.run(compare(url, valkey.url, options))


if __name__ == "__main__":
    main()
