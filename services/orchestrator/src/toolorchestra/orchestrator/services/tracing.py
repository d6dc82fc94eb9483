"""Spans of the loop: ``invoke_agent`` for a run, below it one per turn; models and tools add theirs below the turn."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import Token

from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from typing_extensions import override

from toolorchestra.core.chat import DeltaKind
from toolorchestra.core.loop.context import Observer
from toolorchestra.core.loop.facts import Asked, AskFailed, CallFinished, Decided, Ended, Parked
from toolorchestra.core.loop.journal import Stamped
from toolorchestra.core.loop.state import State
from toolorchestra.kit import semconv
from toolorchestra.kit.telemetry import extract

tracer = trace.get_tracer("toolorchestra.orchestrator")


@contextmanager
def run_span(run_id: str, model: str, tenant: str, traceparent: str | None) -> Iterator[Span]:
    """The span of a run, below the request that opened it, also when another process goes on with it."""
    parent = extract({"traceparent": traceparent}) if traceparent else None
    attributes = {
        semconv.OPERATION_NAME: semconv.OPERATION_INVOKE_AGENT,
        semconv.AGENT_NAME: model,
        semconv.RUN_ID: run_id,
        semconv.TENANT: tenant,
    }
    name = f"{semconv.OPERATION_INVOKE_AGENT} {model}"
    with tracer.start_as_current_span(name, context=parent, kind=SpanKind.INTERNAL, attributes=attributes) as span:
        yield span


def finish_run_span(span: Span, state: State) -> None:
    """What the run cost and how it ended."""
    span.set_attribute(semconv.COST_NANO_USD, state.spent_nano_usd)
    span.set_attribute(semconv.USAGE_INPUT_TOKENS, state.usage.input)
    span.set_attribute(semconv.USAGE_OUTPUT_TOKENS, state.usage.output)
    if user := state.run.metadata.get("user"):  # an id of the client's own
        span.set_attribute(semconv.USER_ID, user)
    if state.ended is not None and state.ended.status == "failed":
        span.set_status(Status(StatusCode.ERROR, state.ended.reason))


class TurnSpans(Observer):
    """Opens a span with each question to the policy and passes everything on.

    The engine awaits its observer, so a span made current here is the parent of what the engine does next.
    """

    def __init__(self, inner: Observer) -> None:
        self._inner = inner
        self._span: Span | None = None
        self._token: Token[otel.Context] | None = None
        self._cost_nano_usd = 0

    @override
    async def stored(self, facts: Sequence[Stamped]) -> None:
        for stamped in facts:
            match stamped.fact:
                case Asked(turn=turn):
                    self._open(turn)
                case Decided(cost_nano_usd=cost) | AskFailed(cost_nano_usd=cost):
                    self._cost_nano_usd += cost
                case CallFinished(outcome=outcome):
                    self._cost_nano_usd += outcome.cost_nano_usd
                case Ended() | Parked():
                    self.close()
                case _:
                    pass
        await self._inner.stored(facts)

    @override
    async def delta(self, kind: DeltaKind, text: str) -> None:
        await self._inner.delta(kind, text)

    def close(self) -> None:
        """End the current turn's span."""
        if self._span is not None and self._token is not None:
            self._span.set_attribute(semconv.COST_NANO_USD, self._cost_nano_usd)
            self._span.end()
            otel.detach(self._token)
        self._span, self._token, self._cost_nano_usd = None, None, 0

    def _open(self, turn: int) -> None:
        self.close()
        self._span = tracer.start_span(f"turn {turn}", kind=SpanKind.INTERNAL, attributes={semconv.TURN: turn})
        self._token = otel.attach(trace.set_span_in_context(self._span))
