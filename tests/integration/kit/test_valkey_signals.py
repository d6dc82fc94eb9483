import asyncio
import time
from contextlib import asynccontextmanager

import redis.asyncio

from toolorchestra.cli.embedded.supervisor import Supervisor
from toolorchestra.cli.embedded.valkey import valkey_part
from toolorchestra.kit.signals import Signal
from toolorchestra.kit.valkey_signals import ValkeySignals


@asynccontextmanager
async def signals(url: str):
    bus = ValkeySignals(url)
    try:
        yield bus
    finally:
        await bus.close()


async def test_a_signal_crosses_processes_that_share_a_server(valkey_url):
    async with signals(valkey_url) as sender, signals(valkey_url) as receiver, receiver.subscribe("run:1") as subscription:
        await sender.publish("run:1", "woke")
        await sender.publish("run:2", "other")
        await sender.publish("run:1", b"\xff")
        assert await subscription.next(1_000) == Signal("run:1", b"woke")
        assert await subscription.next(1_000) == Signal("run:1", b"\xff")


async def test_a_pattern_receives_what_fits(valkey_url):
    async with signals(valkey_url) as bus, bus.subscribe("run:*", "keys") as subscription:
        for channel in ("run:1", "other", "keys", "run:2"):
            await bus.publish(channel)
        assert [(await subscription.next(1_000)).channel for _ in range(3)] == ["run:1", "keys", "run:2"]


async def test_many_wait_over_one_connection(valkey_url):
    async def wait(bus: ValkeySignals, number: int) -> Signal | None:
        async with bus.subscribe(f"run:{number}") as subscription:
            started.add(number)
            return await subscription.next(10_000)

    started: set[int] = set()
    async with signals(valkey_url) as bus, signals(valkey_url) as sender:
        waiting = [asyncio.create_task(wait(bus, number)) for number in range(100)]
        async with asyncio.timeout(10):
            while len(started) < 100:
                await asyncio.sleep(0.01)
        async with redis.asyncio.Redis.from_url(valkey_url) as client:
            subscribers = [one for one in await client.client_list() if int(one["sub"]) > 0]
        for number in range(100):
            await sender.publish(f"run:{number}", str(number))
        received = await asyncio.gather(*waiting)
    assert len(subscribers) == 1
    assert [signal.payload for signal in received] == [str(number).encode() for number in range(100)]


async def test_a_channel_that_nobody_listens_to_is_given_back(valkey_url):
    async with signals(valkey_url) as bus, redis.asyncio.Redis.from_url(valkey_url) as client:
        async with bus.subscribe("one"), bus.subscribe("one", "t*"):
            assert await client.pubsub_channels() == [b"one"]
            assert await client.pubsub_numpat() == 1
        async with asyncio.timeout(5):
            while await client.pubsub_channels() or await client.pubsub_numpat():
                await asyncio.sleep(0.01)
        async with bus.subscribe("one") as again:
            await bus.publish("one", "x")
            assert (await again.next(1_000)).payload == b"x"


async def test_a_listener_and_a_bus_end_at_whatever_point_of_their_beginning(valkey_url):
    async def listen(bus: ValkeySignals) -> None:
        async with bus.subscribe("run:*"):
            await asyncio.Event().wait()

    for turns in range(40):
        bus = ValkeySignals(valkey_url)
        listener = asyncio.create_task(listen(bus))
        for _ in range(turns):
            await asyncio.sleep(0)
        listener.cancel()
        async with asyncio.timeout(5):
            await asyncio.gather(listener, return_exceptions=True)
            await bus.close()


async def test_after_a_lost_connection_a_gap_is_told_and_signals_arrive_again(valkey_url):
    async with signals(valkey_url) as bus, bus.subscribe("run:1", "run:*") as subscription:
        async with redis.asyncio.Redis.from_url(valkey_url) as client:
            await client.client_kill_filter(_type="pubsub")
        gaps = [await subscription.next(5_000), await subscription.next(5_000)]
        await bus.publish("run:1", "back")
        assert sorted((gap.channel, gap.gap) for gap in gaps) == [("run:*", True), ("run:1", True)]
        assert (await subscription.next(1_000)).payload == b"back"


async def test_without_a_server_nothing_raises_and_nobody_waits_long():
    async with signals("redis://127.0.0.1:1/0") as bus:
        began = time.monotonic()
        async with bus.subscribe("c") as subscription:
            for _ in range(100):
                await bus.publish("c", "x")
            assert await subscription.next(10) is None
    assert time.monotonic() - began < 3


async def test_a_server_that_comes_back_is_found(tmp_path):
    part = valkey_part(tmp_path / "valkey")
    async with signals(part.url) as bus, bus.subscribe("c") as subscription:
        assert await subscription.next(50) is None
        async with Supervisor(tmp_path) as supervisor:
            await supervisor.start(part)
            assert (await subscription.next(10_000)).gap
            await bus.publish("c", "here")
            assert (await subscription.next(1_000)).payload == b"here"
        await asyncio.sleep(0.1)
        async with Supervisor(tmp_path) as supervisor:
            await supervisor.start(part)
            assert (await subscription.next(10_000)).gap
            await bus.publish("c", "again")
            assert (await subscription.next(1_000)).payload == b"again"
