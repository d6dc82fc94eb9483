"""Running the calls of a durable run: inline in this process, or by the workers, whose outcomes stand in the database."""

from collections.abc import Sequence
from time import monotonic
from typing import Final

import structlog
from typing_extensions import override

from toolorchestra.core.calls import CallRequest, Executor, Outcome, Status
from toolorchestra.core.errors import ToolOrchestraError
from toolorchestra.core.loop.calls import cancelled
from toolorchestra.core.loop.context import CallRunner, Collected, PendingCall
from toolorchestra.core.loop.state import CallPhase
from toolorchestra.core.tasks import call_channel, over_channel
from toolorchestra.kit.signals import SignalBus
from toolorchestra.kit.telemetry import inject
from toolorchestra.ledger.calls import CallState, StoredCall
from toolorchestra.orchestrator.storage.calls import CallStore
from toolorchestra.orchestrator.storage.queue import CallQueue

logger = structlog.get_logger(__name__)

POLL_MS: Final = 1_000  # with signals: repairs a lost one
BLIND_POLL_MS: Final = 100  # without signals
REPUBLISH_S: Final = 10.0


class DurableRunner(CallRunner):
    """Serves one run."""

    def __init__(
        self,
        *,
        run_id: str,
        executor: Executor,
        calls: CallStore,
        queue: CallQueue | None,
        signals: SignalBus,
        poll_ms: int = POLL_MS,
    ) -> None:
        self._run_id = run_id
        self._executor = executor
        self._calls = calls
        self._queue = queue
        self._signals = signals
        self._poll_ms = poll_ms

    @override
    async def run(self, request: CallRequest) -> Outcome:
        return await self._executor.execute(request)

    @override
    async def dispatch(self, calls: Sequence[tuple[str, str]]) -> None:
        """A failure is not fatal: ``collect`` publishes again, and the call's deadline bounds how long."""
        if self._queue is None:
            logger.warning("no_broker", run=self._run_id, calls=[call_id for call_id, _ in calls])
            return
        try:
            await self._queue.publish(calls, self.headers())
        except ToolOrchestraError as error:
            logger.warning("calls_not_published", run=self._run_id, error=str(error))

    @override
    async def collect(self, call: PendingCall) -> Collected:
        deadline = monotonic() + max(call.left_ms, 0) / 1000
        republish_at = monotonic() + (0 if call.state.phase is CallPhase.INTERRUPTED else REPUBLISH_S)
        async with self._signals.subscribe(call_channel(self._run_id)) as ended:
            while True:
                row = await self._calls.read(call.call_id)
                if row.outcome is None and monotonic() >= deadline:
                    row = await self._calls.give_up(call.call_id)
                if row.outcome is not None:
                    return Collected(row.outcome, row.attempt)
                if row.state is CallState.OVER:
                    return Collected(_given_up(call, row), row.attempt, stored=False)
                if monotonic() >= republish_at:  # a message may be lost, and a worker may die
                    republish_at = monotonic() + REPUBLISH_S
                    await self.dispatch([(call.call_id, call.function.execution)])
                left_ms = int((deadline - monotonic()) * 1000)
                await ended.next(max(10, min(self._poll_ms, left_ms)) if left_ms > 0 else self._poll_ms)

    @override
    async def abandon(self, call: PendingCall) -> Collected:
        row = await self._calls.give_up(call.call_id, now=True)
        if row.outcome is not None:
            return Collected(row.outcome, row.attempt)
        await self._signals.publish(over_channel(call.call_id))
        return Collected(cancelled(call.function, row.hold_nano_usd, sent=row.sent), row.attempt, stored=False)

    @override
    def headers(self) -> dict[str, str]:
        return inject()


def _given_up(call: PendingCall, row: StoredCall) -> Outcome:
    """A call that no worker took in time is free; one whose worker went silent may have had its effect."""
    if not row.sent:
        text = "no worker took the call in time"
        return Outcome(status=Status.TIMEOUT, content=text, error_code="no_worker", sent=False)
    destructive = call.function.side_effects == "destructive"
    return Outcome(
        status=Status.UNKNOWN if destructive else Status.TIMEOUT,
        content="the worker went silent; the call may have had its effect",
        cost_nano_usd=row.hold_nano_usd,
        estimated=row.hold_nano_usd > 0,
        error_code="worker_lost",
    )
