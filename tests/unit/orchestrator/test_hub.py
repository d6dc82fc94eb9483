"""Who follows a run, and what of it they see."""

import asyncio

from tests.unit.orchestrator.making import asked, calls, ended, log
from toolorchestra.core.chat import DeltaKind
from toolorchestra.core.loop import facts as f
from toolorchestra.orchestrator.services.hub import MAX_BEHIND, Channel, Delta, Hub, rests

FACTS = log(asked(), calls("calculator"), ended())
WORD = Delta(DeltaKind.CONTENT, "word")


async def taken(channel, after=0):
    return [item async for item in channel.follow(after)]


async def following(channel, count=1):
    """Tasks that follow, once they listen."""
    tasks = [asyncio.create_task(taken(channel)) for _ in range(count)]
    while channel.followers < count:
        await asyncio.sleep(0)
    return tasks


async def test_all_followers_see_everything_in_order():
    channel = Channel()
    tasks = await following(channel, 2)
    channel.publish([FACTS[0], WORD, *FACTS[1:]])
    assert await asyncio.gather(*tasks) == [[FACTS[0], WORD, *FACTS[1:]]] * 2
    assert channel.followers == 0


async def test_a_late_follower_gets_the_facts_after_its_place_and_no_passing_text():
    channel = Channel()
    channel.publish([FACTS[0], WORD, *FACTS[1:]])
    assert await taken(channel, after=2) == FACTS[2:]


async def test_a_follower_of_a_run_that_rests_ends():
    channel = Channel()
    channel.publish(FACTS)
    assert await taken(channel, after=len(FACTS)) == []


async def test_a_run_that_parks_ends_its_followers_and_one_that_went_on_does_not():
    channel = Channel()
    (task,) = await following(channel)
    stored = log(asked(), f.Parked(turn=1))
    channel.publish(stored)
    assert await task == stored
    went_on = log(asked(), f.Parked(turn=1), f.Continued(turn=1, results={1: "sunny"}), ended())
    again = Channel()
    again.publish(went_on[:-1])
    (task,) = await following(again)
    again.publish(went_on[-1:])
    assert await task == went_on


async def test_closing_ends_followers_without_an_end_of_the_run():
    channel = Channel()
    (task,) = await following(channel)
    channel.publish(FACTS[:2])
    channel.close()
    assert await task == FACTS[:2]
    assert await taken(channel) == FACTS[:2]


async def test_a_slow_follower_loses_passing_text_but_no_fact():
    channel = Channel()
    items = channel.follow()
    channel.publish(FACTS[:1])
    assert await anext(items) == FACTS[0]
    channel.publish([WORD] * (MAX_BEHIND + 100))
    channel.publish(FACTS[1:])
    rest = [item async for item in items]
    assert [item for item in rest if item is not WORD] == FACTS[1:]
    assert rest.count(WORD) == MAX_BEHIND


async def test_what_happens_while_a_follower_reads_the_past_is_not_lost():
    channel = Channel()
    channel.publish(FACTS[:2])
    items = channel.follow()
    assert await anext(items) == FACTS[0]
    channel.publish([WORD, *FACTS[2:]])
    assert [item async for item in items] == [FACTS[1], WORD, *FACTS[2:]]


async def test_a_follower_that_leaves_is_forgotten():
    channel = Channel()
    channel.publish(FACTS[:1])
    items = channel.follow()
    await anext(items)
    assert channel.followers == 1
    await items.aclose()
    assert channel.followers == 0


async def test_a_run_opened_again_sends_followers_of_the_earlier_channel_away():
    hub = Hub()
    (task,) = await following(hub.open("run", FACTS[:1]))
    second = hub.open("run", FACTS[:2])
    assert await task == FACTS[:1]
    assert hub.get("run") is second
    hub.close("run")
    hub.close("run")
    assert hub.get("run") is None


def test_only_an_end_and_a_pause_are_rest():
    assert [rests(item) for item in (*FACTS, WORD)] == [False, False, False, True, False]
