"""Each key at most once at a time, now or later, and never forgotten."""

import asyncio
from collections import Counter

from toolorchestra.operator.services.queue import WorkQueue


class Worked:
    """A queue with workers; ``hold`` lets handlers wait."""

    def __init__(self, workers: int = 2) -> None:
        self.queue: WorkQueue[str] = WorkQueue()
        self.done: list[str] = []
        self.active: Counter[str] = Counter()
        self.most = 0
        self.go = asyncio.Event()
        self.go.set()
        self.tasks = [asyncio.create_task(self.queue.work(self._handle)) for _ in range(workers)]

    async def _handle(self, key: str) -> None:
        self.active[key] += 1
        self.most = max(self.most, *self.active.values())
        await self.go.wait()
        self.active[key] -= 1
        self.done.append(key)

    async def settle(self) -> None:
        while not self.queue.idle:
            await asyncio.sleep(0)

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def test_a_key_that_waits_is_handled_once():
    worked = Worked()
    for _ in range(3):
        worked.queue.add("a")
    worked.queue.add("b")
    await worked.settle()
    assert sorted(worked.done) == ["a", "b"]
    await worked.close()


async def test_a_key_that_changes_while_it_is_handled_is_handled_again_after():
    worked = Worked()
    worked.go.clear()
    worked.queue.add("a")
    await asyncio.sleep(0.01)
    worked.queue.add("a")
    worked.queue.add("a")
    worked.go.set()
    await worked.settle()
    assert (worked.done, worked.most) == (["a", "a"], 1)
    await worked.close()


async def test_the_earlier_appointment_stands():
    worked = Worked()
    worked.queue.add("a", after_ms=30)
    worked.queue.add("a", after_ms=10_000)
    worked.queue.add("b", after_ms=10_000)
    worked.queue.add("b")
    await asyncio.sleep(0.1)
    assert sorted(worked.done) == ["a", "b"]
    worked.queue.add("c", after_ms=10)
    worked.queue.forget("c")
    await asyncio.sleep(0.05)
    assert sorted(worked.done) == ["a", "b"]
    await worked.close()


async def test_it_knows_how_long_the_oldest_waits():
    queue: WorkQueue[str] = WorkQueue()
    assert queue.oldest_s() == 0.0
    queue.add("a")
    await asyncio.sleep(0.02)
    assert queue.oldest_s() >= 0.015
    assert queue.depth == 1
