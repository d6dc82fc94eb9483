"""The one door to all executors: picks the right one, and adds what every call has in common.

Concurrency per tool, the deadline, the cap on the answer's length, the price, and a span. So an executor knows its backend
and nothing else.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from typing import Any, Final, Literal, TypeAlias

from opentelemetry import propagate, trace

from toolorchestra.core.calls import CallRequest, Executor, Outcome, Status
from toolorchestra.core.functions import ExpertTarget, Function, ToolTarget
from toolorchestra.core.pricing import Usage, cost
from toolorchestra.executors.expert import ExpertExecutor
from toolorchestra.executors.headers import span_attributes
from toolorchestra.executors.outcomes import clip, max_result_bytes, timed_out
from toolorchestra.executors.slots import Slots
from toolorchestra.kit import semconv

Backend: TypeAlias = Literal["http", "openapi", "mcp", "plugin"]

# An executor minds the deadline itself and knows what it has sent; this is how much later the door closes on one that does not.
GRACE_S: Final = 0.5


class Executors:
    """Executes any call. Raises only for its own faults; cancellation reaches the backend."""

    def __init__(
        self,
        tools: Mapping[Backend, Executor],
        experts: ExpertExecutor,
        *,
        slots: Slots,
        tracer: trace.Tracer | None = None,
    ) -> None:
        self._tools = tools
        self._experts = experts
        self._slots = slots
        self._tracer = tracer or trace.get_tracer("toolorchestra.executors")

    async def execute(self, call: CallRequest) -> Outcome:
        """The priced outcome."""
        target = call.function.target
        with self._span(call) as span:
            if isinstance(target, ExpertTarget):
                outcome = await self._ask(call)
            else:
                outcome = await self._run(call, target)
            outcome = priced(call, _clipped(call.function, outcome))
            _describe(span, outcome)
        return outcome

    async def _ask(self, call: CallRequest) -> Outcome:
        """An expert; its client holds the model's places, which other callers of the model share."""
        began, meter = asyncio.get_running_loop().time(), call.meter
        try:
            async with asyncio.timeout(call.timeout_ms / 1_000 + GRACE_S):
                outcome = await self._experts.execute(call)
        except TimeoutError:
            outcome = timed_out(call.function, call.timeout_ms, sent=meter.sent)
            outcome = outcome.model_copy(update={"usage": meter.usage, "estimated": meter.sent and not meter.exact})
        return outcome.model_copy(update={"latency_ms": outcome.latency_ms or _since(began)})

    async def _run(self, call: CallRequest, target: ToolTarget) -> Outcome:
        """A tool. The time in the queue counts towards the deadline, not towards the price."""
        loop = asyncio.get_running_loop()
        queued, end = loop.time(), loop.time() + call.timeout_ms / 1_000
        began: float | None = None
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout_at(end):
                    await stack.enter_async_context(self._slots.hold(target))
                began, call.meter.sent = loop.time(), True
                left = replace(call, timeout_ms=max(1, round((end - began) * 1_000)))
                async with asyncio.timeout_at(end + GRACE_S):
                    outcome = await self._tools[backend_of(target)].execute(left)
        except TimeoutError:
            outcome = timed_out(call.function, call.timeout_ms, sent=began is not None)
        began = loop.time() if began is None else began
        details = {**outcome.details, "queuedMs": round((began - queued) * 1_000)}
        return outcome.model_copy(update={"latency_ms": _since(began), "details": details})

    @contextmanager
    def _span(self, call: CallRequest) -> Iterator[trace.Span]:
        """The call's span, under the current one, or under the one that the call's headers name."""
        current = trace.get_current_span().get_span_context().is_valid
        context = None if current else propagate.extract(dict(call.headers))
        with self._tracer.start_as_current_span(
            f"{semconv.OPERATION_EXECUTE_TOOL} {call.function.name}", context=context, attributes=_attributes(call)
        ) as span:
            yield span


def priced(call: CallRequest, outcome: Outcome) -> Outcome:
    """The outcome with its cost: nothing if nothing was sent, else what the call used, failed or not."""
    refused = call.function.is_expert and outcome.status is not Status.OK and outcome.usage == Usage()
    if not outcome.sent or refused or outcome.status is Status.DENIED:
        return outcome.model_copy(update={"cost_nano_usd": 0})
    # The hold was taken for the call's whole time and no more; the grace is ours to pay.
    milliseconds = min(outcome.latency_ms, call.timeout_ms)
    amount = cost(call.function.price, usage=outcome.usage, milliseconds=milliseconds)
    return outcome.model_copy(update={"cost_nano_usd": amount})


def backend_of(target: ToolTarget) -> Backend:
    """Which backend the tool has; a valid spec has exactly one."""
    spec = target.spec
    if spec.http is not None:
        return "http"
    if spec.openapi is not None:
        return "openapi"
    return "mcp" if spec.mcp is not None else "plugin"


def _clipped(function: Function, outcome: Outcome) -> Outcome:
    most = max_result_bytes(function)
    if most is None:
        return outcome
    content, cut = clip(outcome.content, most)
    return outcome.model_copy(update={"content": content, "truncated": outcome.truncated or cut})


def _attributes(call: CallRequest) -> dict[str, Any]:
    is_expert = call.function.is_expert
    return span_attributes(
        {
            semconv.OPERATION_NAME: semconv.OPERATION_EXECUTE_TOOL,
            semconv.TOOL_NAME: call.function.name,
            semconv.TOOL_TYPE: semconv.TOOL_TYPE_EXTENSION if is_expert else semconv.TOOL_TYPE_FUNCTION,
            semconv.TOOL_CALL_ID: call.call_id,
            semconv.RUN_ID: call.run_id,
            semconv.TENANT: call.tenant,
            semconv.CALL_ATTEMPT: call.attempt,
            semconv.SIMULATED: call.function.simulated or None,
        }
    )


def _describe(span: trace.Span, outcome: Outcome) -> None:
    span.set_attribute(semconv.CALL_STATUS, outcome.status.value)
    span.set_attribute(semconv.CALL_SENT, outcome.sent)
    span.set_attribute(semconv.CALL_TRUNCATED, outcome.truncated)
    span.set_attribute(semconv.COST_NANO_USD, outcome.cost_nano_usd)
    span.set_attribute(semconv.COST_ESTIMATED, outcome.estimated)
    if outcome.status is not Status.OK:
        span.set_status(trace.StatusCode.ERROR, outcome.status.value)
        span.set_attribute(semconv.ERROR_TYPE, outcome.error_code or outcome.status.value)


def _since(began: float) -> int:
    return round((asyncio.get_running_loop().time() - began) * 1_000)
