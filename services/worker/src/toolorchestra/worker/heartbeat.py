"""Liveness by work: the worker sends itself a task again and again, through the broker, over the connection that brings calls.

A worker that has lost its consumer after a reconnect still looks alive as a process; its liveness file grows old.
"""

from typing import Any, Final

import structlog
from celery import Celery
from kombu.exceptions import OperationalError

from toolorchestra.worker.tasks import HEARTBEAT

QUEUE_LIFE_S: Final = 600  # what a killed worker leaves behind is gone after this

logger = structlog.get_logger(__name__)


class Heartbeat:
    """Sends the task on a queue that only this worker consumes."""

    def __init__(self, app: Celery, name: str, *, interval_s: float) -> None:
        self._app = app
        self._queue = f"toolorchestra.heartbeat.{name}"
        self._interval_s = interval_s

    def consume(self) -> None:
        """Let the worker, once it is set up, consume its own queue beside that of the calls."""
        self._app.amqp.queues.select_add(self._queue, durable=False, expires=QUEUE_LIFE_S)

    def start(self, consumer: Any) -> None:
        """Begin, on the timer of the worker's own loop; ``consumer`` is Celery's."""
        self.send()
        consumer.timer.call_repeatedly(self._interval_s, self.send)

    def send(self) -> None:
        """Send one task, which is worth nothing once the next one is sent."""
        try:
            self._app.send_task(HEARTBEAT, queue=self._queue, expires=self._interval_s, retry=False)
        except OperationalError as error:
            logger.warning("heartbeat_not_sent", reason=str(error))
