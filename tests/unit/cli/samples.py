"""One run as the platform tells it, made of stored facts by the platform's own code."""

from datetime import UTC, datetime, timedelta
from typing import Any

from toolorchestra.core.calls import Outcome, Status
from toolorchestra.core.loop import facts as f
from toolorchestra.core.loop.journal import Stamped
from toolorchestra.core.pricing import Usage
from toolorchestra.orchestrator.services.explain import explain

QUESTION = "What is the capital of France?"
ANSWER = "The capital of France is Paris."
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
BEGAN = datetime(2026, 11, 22, 10, 0, 0, 123456, tzinfo=UTC)


def run_body(run_id: str = "run-1", *, answer: str = ANSWER, status: str = "completed") -> dict[str, Any]:
    """GET /v1/runs/{id}: a rule's search that failed, then a model's decision that cost money, then the answer."""
    log = [Stamped(n, BEGAN + timedelta(milliseconds=700 * n), fact) for n, fact in enumerate(_facts(answer, status), start=1)]
    return explain(run_id, log)


def _facts(answer: str, status: str) -> list[f.Fact]:
    return [
        f.Opened(
            model="toolorchestra",
            policy="expert:default/manager",
            tenant="default",
            key="k1",
            revision="r1",
            messages=({"role": "user", "content": QUESTION},),
            limits=f.Limits(max_turns=12, max_output_tokens=1024, timeout_ms=300_000),
            traceparent=f"00-{TRACE_ID}-b7ad6b7169203331-01",
        ),
        _asked(1),
        _decided(1, f.Intent(function="local-search", arguments={"query": QUESTION}, reason="perhaps it stands there")),
        f.CallsStarted(turn=1, calls=(f.StartedCall(ordinal=1, attempt=1, hold_nano_usd=0, timeout_ms=5_000),)),
        _finished(1, Outcome(status=Status.TIMEOUT, content="it took too long", latency_ms=5_000)),
        _asked(2),
        _decided(2, f.Intent(function="local", arguments={"question": QUESTION}, reason="the cheapest expert"), paid=True),
        f.CallsStarted(turn=2, calls=(f.StartedCall(ordinal=1, attempt=1, hold_nano_usd=9_000, timeout_ms=5_000),)),
        _finished(2, _answered(answer)),
        _asked(3),
        f.Decided(turn=3, attempt=1, decision=f.Decision(answer_from="2/1", reason="the expert answered"), latency_ms=0),
        f.Ended(status=status, answer=answer, reason="answered", answer_from="2/1"),
    ]


def _asked(turn: int) -> f.Asked:
    return f.Asked(turn=turn, attempt=1, max_tokens=1024, hold_nano_usd=0, timeout_ms=10_000)


def _decided(turn: int, intent: f.Intent, *, paid: bool = False) -> f.Decided:
    price = {"usage": Usage(input=210, output=18), "cost_nano_usd": 350_000, "latency_ms": 840} if paid else {}
    reason = "a model chose it" if paid else intent.reason
    return f.Decided(turn=turn, attempt=1, decision=f.Decision(calls=(intent,), reason=reason), **price)


def _finished(turn: int, outcome: Outcome) -> f.CallFinished:
    return f.CallFinished(turn=turn, ordinal=1, attempt=1, outcome=outcome)


def _answered(answer: str) -> Outcome:
    return Outcome(
        status=Status.OK,
        content=answer,
        cost_nano_usd=1_200,
        usage=Usage(input=42, output=9),
        latency_ms=1_234,
        estimated=True,
    )
