"""From a message to the loop and back to an acknowledgement."""

import threading
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from celery.exceptions import InvalidTaskError
from kombu.transport import virtual

from toolorchestra.worker.direct import Direct
from toolorchestra.worker.services.execution import Handling


class Runs:
    """A runtime that keeps what was begun, to be ended by the test."""

    def __init__(self) -> None:
        self.begun: dict[str, tuple[dict[str, str], Callable[[Handling], None]]] = {}

    def begin(self, call_id: str, headers: Mapping[str, str], ended: Callable[[Handling], None]) -> None:
        self.begun[call_id] = (dict(headers), ended)

    def end(self, call_id: str, handling: Handling = Handling.DONE) -> None:
        self.begun.pop(call_id)[1](handling)


class Counter:
    """Celery's side: a consumer, and what became of its messages."""

    def __init__(self, *, prefetch: int = 64, in_memory: bool = True) -> None:
        self.runs, self.ended = Runs(), []
        self.pool = SimpleNamespace(on_stop=lambda: self.ended.append("pool stopped"))
        self.direct = Direct(self.runs)
        qos = virtual.QoS(SimpleNamespace(do_restore=False)) if in_memory else object()
        self._channel = SimpleNamespace(qos=qos)
        self._receive = self.direct(None, None, SimpleNamespace(connection_errors=(OSError,), initial_prefetch_count=prefetch))

    def receive(self, call_id: Any, *, body: object = None, payload: object = None) -> None:
        message = SimpleNamespace(
            payload=payload or [[call_id], {}, {}],
            headers={"traceparent": "00-1", "deep": {}},
            channel=self._channel,
            ack_log_error=lambda *_: self.ended.append(f"{call_id} noted"),
        )
        self._receive(message, body, lambda *_: self._told(call_id, "acknowledged"), self._reject(call_id), [])

    def _reject(self, call_id: str) -> Callable[..., None]:
        return lambda *_, requeue: self._told(call_id, "requeued" if requeue else "dropped")

    def _told(self, call_id: str, what: str) -> None:
        self.ended.append(f"{call_id} {what}")


def test_a_call_is_begun_with_the_texts_of_its_headers_and_acknowledged_when_it_has_ended():
    counter = Counter()
    counter.receive("r/1/1")
    assert counter.runs.begun["r/1/1"][0] == {"traceparent": "00-1"}
    assert counter.ended == []

    counter.runs.end("r/1/1")

    assert counter.ended == ["r/1/1 noted"]


def test_a_call_given_back_returns_to_the_queue():
    counter = Counter()
    counter.receive("r/1/1")
    counter.runs.end("r/1/1", Handling.GIVEN_BACK)
    assert counter.ended == ["r/1/1 requeued"]


def test_a_consumer_that_took_half_of_what_it_may_is_woken_by_an_end():
    counter = Counter(prefetch=4)
    counter.receive("r/1/1")
    counter.receive("r/1/2")
    counter.runs.end("r/1/1")
    counter.runs.end("r/1/2")
    assert counter.ended == ["r/1/1 acknowledged", "r/1/2 noted"]


def test_where_an_acknowledgement_is_traffic_the_consumer_sends_it():
    counter = Counter(in_memory=False)
    counter.receive("r/1/1")
    counter.runs.end("r/1/1")
    assert counter.ended == ["r/1/1 acknowledged"]


@pytest.mark.parametrize("payload", [[[7], {}, {}], [[], {}, {}], [["a", "b"], {}, {}], {"id": 1}, "r/1/1"])
def test_what_is_no_call_id_is_refused(payload):
    counter = Counter()
    with pytest.raises(InvalidTaskError):
        counter.receive("r/1/1", payload=payload)
    assert counter.runs.begun == {}


def test_a_message_of_an_old_protocol_is_refused():
    with pytest.raises(InvalidTaskError):
        Counter().receive("r/1/1", body={"args": ["r/1/1"]})


def test_the_pool_stops_when_no_call_is_under_way():
    counter = Counter()
    counter.direct.hold_up(counter.pool)
    counter.receive("r/1/1")
    stopping = threading.Thread(target=counter.pool.on_stop)
    stopping.start()
    stopping.join(0.1)
    assert counter.ended == []

    counter.runs.end("r/1/1")
    stopping.join(5)

    assert counter.ended == ["r/1/1 noted", "pool stopped"]
