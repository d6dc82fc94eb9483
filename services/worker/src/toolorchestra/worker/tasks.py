"""The two tasks: execute a call, and prove that tasks are executed."""

from typing import Any, Final

import structlog
from celery import Celery
from celery.exceptions import Reject

from toolorchestra.core.tasks import RUN_CALL
from toolorchestra.worker.direct import carried_headers
from toolorchestra.worker.runtime import Runtime
from toolorchestra.worker.services.execution import Handling
from toolorchestra.worker.services.pulse import Pulse

HEARTBEAT: Final = "toolorchestra.heartbeat"
CELERYS: Final = "celery.worker.strategy:default"

logger = structlog.get_logger(__name__)


def register(app: Celery, runtime: Runtime, pulse: Pulse, *, strategy: object = CELERYS) -> None:
    """Give the application its tasks. ``strategy`` is what receives the messages of calls, by default Celery's own."""

    def run_call(task: Any, call_id: Any) -> None:
        """Execute the call of this id. Nothing is returned: the outcome stands in the database."""
        if not isinstance(call_id, str):
            logger.error("message_dropped", reason=f"a call id is a text, not {type(call_id).__name__}")
            return
        if runtime.run(call_id, carried_headers(task.request.headers)) is Handling.GIVEN_BACK:
            raise Reject("given back", requeue=True)

    def heartbeat() -> None:
        """Prove that this worker receives tasks and executes them."""
        runtime.ping()
        pulse.beat()

    # Shared tasks would belong to every application of the process, and to the first one's runtime.
    app.task(run_call, name=RUN_CALL, bind=True, ignore_result=True, acks_late=True, shared=False, Strategy=strategy)
    app.task(heartbeat, name=HEARTBEAT, ignore_result=True, shared=False)
