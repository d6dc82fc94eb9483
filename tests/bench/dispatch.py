"""Dispatching a call through Celery beside hand-written loops that write the same two rows, claim and finish.

Through Celery a call id is published, a worker process claims, executes and finishes it, and its signal resolves the waiter. The
hand-written loops claim, execute and finish with the same statements on as many connections, and one of them signals the same
way; they have no leases, spans, log or patience. That one takes ids from a list of the same broker, in a process of its own, as
any home-made queue would; the other takes them from a queue in memory of the caller's own process, which no crash survives. A
loop without rows is printed for information, and so is the floor: a task of stock Celery over the same broker that touches no
database and executes nothing, but only signals.

Latency on a busy machine says more of its other work than of this, so the processor time that the caller's and the worker's process
spend per call is printed, too.

Run it with ``python -m tests.bench.dispatch``; it prints ratios and never fails on seconds.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from celery import Celery
from celery.platforms import SecurityWarning
from redis import Redis as SyncRedis
from redis.asyncio import Redis

from tests.integration.worker.harness import CALCULATOR, TENANT, Desk, WorkerProcess, function_of
from tests.support.services import running
from toolorchestra.cli.embedded.leash import leashed
from toolorchestra.cli.embedded.postgres import postgres_part, postgres_url
from toolorchestra.cli.embedded.valkey import valkey_part
from toolorchestra.core.calls import CallRequest, Executor, Outcome
from toolorchestra.core.functions import Function
from toolorchestra.core.tasks import call_channel
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
LIST = "bench:calls"
FLOOR = "bench.floor"  # a task and its queue
ROUNDS = 3  # the ways take turns, so that what else the machine does meets all of them
CALLS = 400  # at most, of one way and round

Dispatch = Callable[[str], Awaitable[object]]


class ByHand:
    """What a hand-written worker does with a call id."""

    def __init__(self, database: Database, executor: Executor) -> None:
        self._database = database
        self._executor = executor
        self._function = function_of("calculator", **CALCULATOR)

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator["ByHand"]:
        async with (
            await Database.open(url, max_size=CONNECTIONS) as database,
            open_toolbox(EgressGuard(()), EnvironmentSecrets({})) as toolbox,
        ):
            yield cls(database, toolbox.executors)

    async def with_rows(self, call_id: str) -> None:
        claim = await calls.claim(self._database, call_id, lease_ms=15_000)
        assert isinstance(claim, Claim)
        outcome = await self.without_rows(call_id)
        (stored, *_) = await self._database.execute(calls.finish_steps(call_id, claim.attempt, outcome))
        assert stored

    async def without_rows(self, call_id: str) -> Outcome:
        request = CallRequest(call_id, "run", TENANT, self._function, ARGUMENTS, 1, call_id, timeout_ms=10_000)
        return await self._executor.execute(request)


async def serve(url: str, broker: str) -> None:
    """The hand-written worker process: takers that pop ids from a list, do the work and tell of its end."""
    async with ByHand.open(url) as by_hand, Redis.from_url(broker, socket_timeout=None) as redis:

        async def take() -> None:
            while True:
                _, call_id = await redis.brpop([LIST])
                await by_hand.with_rows(call_id.decode())
                await redis.publish(call_channel(call_id.decode().rsplit("/", 2)[0]), call_id)

        await asyncio.gather(*(take() for _ in range(AT_ONCE)))


def serve_floor(broker: str) -> None:
    """A worker of stock Celery, set up as lean as it gets, whose task does nothing but signal."""
    warnings.filterwarnings("ignore", category=SecurityWarning)  # root is no danger without pickles
    app = Celery("bench", broker=broker, set_as_current=False)
    app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=1, worker_enable_remote_control=False)
    redis = SyncRedis.from_url(broker)

    def tell(call_id: str) -> None:
        redis.publish(call_channel(call_id.rsplit("/", 2)[0]), call_id)

    app.task(tell, name=FLOOR, ignore_result=True, shared=False)
    app.Worker(
        pool_cls="threads", concurrency=AT_ONCE, queues=[FLOOR], loglevel="ERROR", quiet=True, without_gossip=True,
        without_mingle=True, without_heartbeat=True,
    ).start()  # fmt: skip


class Waiters:
    """One subscription for the process, which resolves whoever waits for a call; as an orchestrator's replica does."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._waiting: dict[str, asyncio.Future[None]] = {}

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Waiters"]:
        async with self._desk.signals.subscribe(call_channel("*")) as subscription:

            async def resolve() -> None:
                async for signal in subscription:
                    waiter = self._waiting.pop(signal.payload.decode(), None)
                    if waiter is not None:
                        waiter.set_result(None)

            reader = asyncio.create_task(resolve())
            yield self
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    def through(self, publish: Dispatch) -> Dispatch:
        """Publish and wait for the signal."""

        async def dispatch(call_id: str) -> None:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[call_id] = waiter
            await publish(call_id)
            await waiter

        return dispatch


class Loop:
    """The hand-written loop in the caller's process: a queue in memory and some takers."""

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
    idle_cpu_s: float = 0.0
    busy_cpu_s: float = 0.0

    async def one(self, call_id: str) -> float:
        began = time.perf_counter()
        await self.dispatch(call_id)
        return (time.perf_counter() - began) * 1_000

    async def measure(self, call_ids: Sequence[str], seconds: float, cpu_s: Callable[[], float]) -> None:
        """One at a time for so long, then sixteen at once for so long, or until the calls are used up."""
        waiting, spent_s = list(call_ids), cpu_s()
        most = len(waiting) // 4
        end = time.perf_counter() + seconds
        while len(call_ids) - len(waiting) < most and time.perf_counter() < end:
            self.idle_ms.append(await self.one(waiting.pop()))
        began = time.perf_counter()
        self.idle_cpu_s += cpu_s() - spent_s
        spent_s = cpu_s()

        async def client() -> None:
            while waiting and time.perf_counter() < began + seconds:
                self.busy_ms.append(await self.one(waiting.pop()))

        await asyncio.gather(*(client() for _ in range(AT_ONCE)))
        self.busy_s += time.perf_counter() - began
        self.busy_cpu_s += cpu_s() - spent_s

    @property
    def cpu_ms(self) -> tuple[float, float]:
        """Processor time per call of the caller's process and the worker's: one at a time, sixteen at once."""
        return self.idle_cpu_s / len(self.idle_ms) * 1_000, self.busy_cpu_s / len(self.busy_ms) * 1_000

    @property
    def idle(self) -> float:
        return statistics.median(self.idle_ms)

    @property
    def busy(self) -> float:
        return statistics.median(self.busy_ms)

    def over(self, peer: "Way") -> str:
        ratios = f"idle {self.idle / peer.idle:.2f}x, {AT_ONCE} at once {self.busy / peer.busy:.2f}x"
        own, other = self.cpu_ms, peer.cpu_ms
        cpu = f"processor time {own[0] / other[0]:.2f}x, {own[1] / other[1]:.2f}x"
        return f"{self.name} over {peer.name}: {ratios}; {cpu}"

    def __str__(self) -> str:
        rate = len(self.busy_ms) / self.busy_s
        latency = f"idle p50 {self.idle:6.2f} ms   {AT_ONCE} at once p50 {self.busy:7.2f} ms   {rate:6.0f}/s"
        return f"{self.name:<30} {latency}   cpu {self.cpu_ms[0]:5.2f} and {self.cpu_ms[1]:5.2f} ms"


@asynccontextmanager
async def ways(desk: Desk, url: str, broker: str) -> AsyncIterator[list[Way]]:
    async with AsyncExitStack() as stack:
        by_hand = await stack.enter_async_context(ByHand.open(url))
        redis = await stack.enter_async_context(Redis.from_url(broker))
        waiters = await stack.enter_async_context(Waiters(desk).listening())
        rows = await stack.enter_async_context(Loop(by_hand.with_rows).running())
        bare = await stack.enter_async_context(Loop(by_hand.without_rows).running())

        celery = stack.enter_context(Celery("bench", broker=broker, set_as_current=False))

        async def push(call_id: str) -> None:
            await redis.lpush(LIST, call_id)

        async def send(call_id: str) -> None:
            await asyncio.to_thread(celery.send_task, FLOOR, (call_id,), queue=FLOOR, ignore_result=True)

        yield [
            Way("Celery", waiters.through(desk.publish)),
            Way("a loop in another process", waiters.through(push)),
            Way("a loop in this process", rows.dispatch),
            Way("a loop without rows", bare.dispatch),
            Way("an empty task of stock Celery", waiters.through(send)),
        ]


async def measure(url: str, broker: str, seconds: float, workers: Sequence[psutil.Process]) -> None:
    function: Function = function_of("calculator", **CALCULATOR)

    def cpu_s() -> float:
        used = [worker.cpu_times() for worker in workers]  # those of another way wait
        return time.process_time() + sum(times.user + times.system for times in used)

    async with Desk.open(url, broker) as desk, ways(desk, url, broker) as found:
        for number in range(ROUNDS + 1):
            for way in found:
                call_ids = await desk.store(function, ARGUMENTS, count=CALLS, timeout_ms=120_000)
                await way.measure(call_ids, seconds / ROUNDS, cpu_s)
            if number == 0:  # connections, caches and threads are made in the first round
                found[:] = [Way(way.name, way.dispatch) for way in found]
    celery, other, same, _, floor = found
    for way in found:
        print(way)
    print(f"{celery.over(other)}   (aim <= 1.3x)")
    print(celery.over(same))
    print(floor.over(other))


@contextmanager
def peer(*arguments: str) -> Iterator[psutil.Process]:
    """A worker to compare with, as a process."""
    process = subprocess.Popen(leashed((sys.executable, "-m", "tests.bench.dispatch", *arguments)))
    try:
        yield psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()


def compare(seconds: float) -> None:
    """Start servers and workers, measure, print."""
    with tempfile.TemporaryDirectory(prefix="to-bench-", ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        data = Path(folder)
        data.chmod(0o755)
        stack.enter_context(running(postgres_part(data / "pg"), log=data / "postgres.log"))
        broker = stack.enter_context(running(valkey_part(data / "valkey"), log=data / "valkey.log")).url
        url = postgres_url(data / "pg", database="postgres")
        asyncio.run(migrate(url))
        worker = WorkerProcess(
            data, database_url=url, broker_url=broker, signal_url=broker, database_connections=CONNECTIONS,
            log__level="warning", telemetry__traces_folder=None,
        )  # fmt: skip
        stack.callback(worker.end)
        peers = [stack.enter_context(peer(*arguments)) for arguments in (("--serve", url, broker), ("--serve-floor", broker))]
        workers = [psutil.Process(worker.start().running.pid), *peers]
        asyncio.run(asyncio.wait_for(measure(url, broker, seconds, workers), 60 + 20 * seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="per measurement")
    parser.add_argument("--serve", nargs=2, metavar=("URL", "BROKER"), help="be the hand-written worker")
    parser.add_argument("--serve-floor", metavar="BROKER", help="be the worker of stock Celery")
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve(*options.serve))
    elif options.serve_floor:
        serve_floor(options.serve_floor)
    else:
        compare(options.seconds)


if __name__ == "__main__":
    main()
