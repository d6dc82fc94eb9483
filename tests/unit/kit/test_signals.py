import asyncio

import pytest

from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.kit.signals import MAX_WAITING, NullSignals, Signal
from toolorchestra.kit.testing import MemorySignals
from toolorchestra.kit.valkey_signals import ValkeySignals, open_signals


async def test_a_signal_reaches_all_that_listen_and_nobody_else():
    bus = MemorySignals()
    async with bus.subscribe("run:1") as one, bus.subscribe("run:1", "run:2") as both, bus.subscribe("run:2") as other:
        await bus.publish("run:1", "woke")
        assert await one.next(100) == await both.next(100) == Signal("run:1", b"woke")
        assert await other.next(1) is None


async def test_a_pattern_stands_for_many_channels():
    bus = MemorySignals()
    async with bus.subscribe("run:*") as runs:
        await bus.publish("run:7")
        await bus.publish("key:7")
        await bus.publish("run:8")
        assert [(await runs.next(10)).channel, (await runs.next(10)).channel] == ["run:7", "run:8"]
        assert await runs.next(1) is None


async def test_signals_can_be_iterated():
    bus = MemorySignals()
    async with bus.subscribe("c") as subscription:
        await bus.publish("c", b"1")
        await bus.publish("c", b"2")
        seen = []
        async for signal in subscription:
            seen.append(signal.payload)
            if len(seen) == 2:
                break
    assert seen == [b"1", b"2"]


async def test_after_the_block_nothing_is_received():
    bus = MemorySignals()
    async with bus.subscribe("c") as subscription:
        pass
    await bus.publish("c")
    assert await subscription.next(1) is None


async def test_a_reader_that_is_behind_loses_the_oldest_signals():
    bus = MemorySignals()
    async with bus.subscribe("c") as subscription:
        for number in range(MAX_WAITING + 1):
            await bus.publish("c", str(number))
        assert (await subscription.next(10)).payload == b"1"


async def test_a_lost_connection_is_told_as_a_gap():
    bus = MemorySignals()
    async with bus.subscribe("c") as subscription:
        bus.lose()
        assert (await subscription.next(10)).gap


async def test_without_a_url_nothing_is_sent_and_waiting_just_ends():
    bus = open_signals(None)
    assert isinstance(bus, NullSignals)
    async with bus.subscribe("c") as subscription:
        await bus.publish("c", "x")
        assert await subscription.next(1) is None
    await bus.close()


@pytest.mark.parametrize("url", ["redis://h:1/0", "rediss://h", "valkey://h", "unix:///tmp/s"])
async def test_redis_and_valkey_urls_are_understood(url):
    bus = open_signals(url)
    assert isinstance(bus, ValkeySignals)
    await bus.close()


@pytest.mark.parametrize("url", ["amqp://h", "nonsense", "redis://"])
def test_a_url_of_something_else_is_refused(url):
    with pytest.raises(InvalidRequestError, match="redis://"):
        open_signals(url)


async def test_many_can_wait_for_the_same_signal():
    bus = MemorySignals()

    async def wait() -> bytes:
        async with bus.subscribe("done") as subscription:
            return (await subscription.next(1_000)).payload

    waiting = [asyncio.create_task(wait()) for _ in range(50)]
    await asyncio.sleep(0)
    await bus.publish("done", "yes")
    assert await asyncio.gather(*waiting) == [b"yes"] * 50
