"""Announcing calls over a real broker: in Celery's own form, together, and again when the broker comes back."""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.support.services import running
from toolorchestra.cli.embedded.valkey import valkey_part
from toolorchestra.core.errors import UnavailableError
from toolorchestra.core.tasks import CALLS_QUEUE, RUN_CALL, SANDBOX_QUEUE
from toolorchestra.orchestrator.storage.queue import CeleryQueue


@pytest.fixture
def own_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="to-publishing-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def queue(valkey_url: str) -> Iterator[CeleryQueue]:
    queue = CeleryQueue(valkey_url)
    yield queue
    queue.close()


def received(url: str, name: str) -> list[tuple[dict[str, Any], Any]]:
    """Headers and body of the messages in a queue, as Celery reads them."""
    found = []
    with Celery(broker=url, set_as_current=False) as app, app.connection_for_read() as connection:
        queue = app.amqp.queues[name](connection.default_channel)
        while (message := queue.get(no_ack=True)) is not None:
            found.append((message.headers, message.payload))
    return found


async def test_a_call_is_a_task_of_celery_in_the_queue_of_its_class(queue: CeleryQueue, valkey_url: str):
    await queue.publish([("r/1/1", "queued"), ("r/1/2", "sandbox")], {"traceparent": "00-1"})

    ((headers, body),) = received(valkey_url, CALLS_QUEUE)
    assert (headers["task"], headers["id"], headers["traceparent"]) == (RUN_CALL, "r/1/1", "00-1")
    assert body[:2] == [["r/1/1"], {}]
    assert [body[0] for _, body in received(valkey_url, SANDBOX_QUEUE)] == [["r/1/2"]]


async def test_many_at_once_all_arrive_in_order(queue: CeleryQueue, valkey_url: str):
    call_ids = [f"r/1/{number}" for number in range(100)]

    await asyncio.gather(*(queue.publish([(call_id, "queued")], {}) for call_id in call_ids))

    assert [body[0][0] for _, body in received(valkey_url, CALLS_QUEUE)] == call_ids


async def test_one_who_is_cancelled_takes_nobody_with_him(queue: CeleryQueue, valkey_url: str):
    publishing = [asyncio.create_task(queue.publish([(f"r/1/{number}", "queued")], {})) for number in range(4)]
    await asyncio.sleep(0)
    publishing[0].cancel()
    publishing[2].cancel()

    await asyncio.gather(*publishing, return_exceptions=True)

    arrived = {body[0][0] for _, body in received(valkey_url, CALLS_QUEUE)}
    assert {"r/1/1", "r/1/3"} <= arrived


def test_a_broker_that_was_restarted_is_found_again_and_one_that_is_away_is_told(own_folder: Path):
    part = valkey_part(own_folder / "valkey")
    queue = CeleryQueue(part.url)

    async def publish(*call_ids: str) -> list[BaseException | None]:
        return await asyncio.gather(*(queue.publish([(one, "queued")], {}) for one in call_ids), return_exceptions=True)

    try:
        with running(part, log=own_folder / "first.log"):
            first = asyncio.run(publish("r/1/1"))
        with running(part, log=own_folder / "second.log"):
            second = asyncio.run(publish("r/1/2"))
        away = asyncio.run(publish("r/1/3", "r/1/4"))
        with running(part, log=own_folder / "third.log"):
            third = asyncio.run(publish("r/1/5"))
    finally:
        queue.close()

    assert first == second == third == [None]
    assert [type(error) for error in away] == [UnavailableError, UnavailableError]
