"""The span of a call on the worker's side: it consumes what the orchestrator published, and executes below that."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode

from toolorchestra.core.calls import Outcome, Status
from toolorchestra.kit import semconv
from toolorchestra.kit.telemetry import extract
from toolorchestra.ledger.calls import Claim

tracer = trace.get_tracer("toolorchestra.worker")


@contextmanager
def consumer_span(claim: Claim, queue: str, headers: Mapping[str, str], *, began_ns: int | None = None) -> Iterator[Span]:
    """The span of an attempt, below the one that the message names, else below the one stored with the call."""
    carried = headers if "traceparent" in headers else {"traceparent": claim.traceparent or ""}
    attributes: dict[str, str | int] = {
        semconv.TOOL_NAME: claim.function,
        semconv.TOOL_CALL_ID: claim.call_id,
        semconv.RUN_ID: claim.run_id,
        semconv.TENANT: claim.tenant,
        semconv.CALL_ATTEMPT: claim.attempt,
    }
    with tracer.start_as_current_span(
        f"process {queue}",
        context=extract(carried),
        kind=SpanKind.CONSUMER,
        attributes=attributes,
        start_time=began_ns or time.time_ns(),
    ) as span:
        yield span


def describe(span: Span, outcome: Outcome) -> None:
    """How the attempt ended and what it cost."""
    span.set_attribute(semconv.CALL_STATUS, outcome.status.value)
    span.set_attribute(semconv.CALL_SENT, outcome.sent)
    span.set_attribute(semconv.COST_NANO_USD, outcome.cost_nano_usd)
    span.set_attribute(semconv.COST_ESTIMATED, outcome.estimated)
    if outcome.status is not Status.OK:
        span.set_status(StatusCode.ERROR, outcome.status.value)
        span.set_attribute(semconv.ERROR_TYPE, outcome.error_code or outcome.status.value)
