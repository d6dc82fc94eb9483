"""The tasks translate: a message in, a call of the runtime, a message given back."""

from pathlib import Path

import pytest
from celery import Celery
from celery.exceptions import Reject

from toolorchestra.core.tasks import RUN_CALL
from toolorchestra.worker.direct import carried_headers
from toolorchestra.worker.services.execution import Handling
from toolorchestra.worker.services.pulse import Pulse
from toolorchestra.worker.tasks import HEARTBEAT, register
from toolorchestra.worker.testing import MemoryRuntime


def app_with(runtime: MemoryRuntime, file: Path | None = None) -> Celery:
    app = Celery("test", broker="memory://", set_as_current=False)
    register(app, runtime, Pulse(file))
    return app


@pytest.mark.parametrize("handling", [Handling.DONE, Handling.NOT_OURS])
def test_a_call_id_is_run(handling: Handling):
    runtime = MemoryRuntime(handling)

    app_with(runtime).tasks[RUN_CALL]("run/1/1")

    assert runtime.asked == [("run/1/1", {})]


def test_a_call_given_back_returns_to_the_queue():
    with pytest.raises(Reject) as caught:
        app_with(MemoryRuntime(Handling.GIVEN_BACK)).tasks[RUN_CALL]("run/1/1")

    assert caught.value.requeue is True


@pytest.mark.parametrize("nonsense", [None, 7, ["run/1/1"], {"id": 1}])
def test_what_is_no_call_id_is_dropped(nonsense: object):
    runtime = MemoryRuntime()

    app_with(runtime).tasks[RUN_CALL](nonsense)

    assert runtime.asked == []


def test_a_heartbeat_asks_the_runtime_before_it_touches_the_file(tmp_path: Path):
    runtime, file = MemoryRuntime(), tmp_path / "alive"

    app_with(runtime, file).tasks[HEARTBEAT]()

    assert (runtime.pings, file.exists()) == (1, True)


def test_only_texts_of_headers_are_carried():
    assert carried_headers({"traceparent": "00-1", "deep": {"a": 1}, "n": 1}) == {"traceparent": "00-1"}
    assert carried_headers(None) == {}
