"""Prometheus metrics of this process."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from typing_extensions import override

from toolorchestra.core.chat import DeltaKind
from toolorchestra.core.loop.context import Observer
from toolorchestra.core.loop.facts import AskFailed, CallFinished, Decided, Ended
from toolorchestra.core.loop.journal import Stamped
from toolorchestra.core.money import NANO_PER_USD

LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """A registry of its own, so that several applications fit into one process. No label has unbounded values."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("toolorchestra_http_requests", "HTTP requests.", ("route", "status"), registry=registry)
        self.latency = Histogram(
            "toolorchestra_http_request_seconds",
            "Time to the response's first byte.",
            ("route",),
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.active_runs = Gauge("toolorchestra_active_runs", "Runs driven by this process.", registry=registry)
        self.runs = Counter("toolorchestra_runs", "Runs that ended.", ("model", "status"), registry=registry)
        self.calls = Counter("toolorchestra_calls", "Calls that ended.", ("model", "status"), registry=registry)
        self.spent = Counter("toolorchestra_spent_usd", "US dollars spent by runs.", ("model", "on"), registry=registry)
        self.decision = Histogram(
            "toolorchestra_decision_seconds", "Time of one decision.", ("model",), buckets=LATENCY_BUCKETS, registry=registry
        )
        self.budget_used = Gauge(
            "toolorchestra_budget_used_ratio",
            "Part of a tenant's limit that is spent or held, of the fullest windows of all.",
            ("tenant", "unit", "window"),
            registry=registry,
        )
        self.budget_alerts = Counter(
            "toolorchestra_budget_alerts", "Percentages of budgets that were reached.", ("unit", "window"), registry=registry
        )


class Measured(Observer):
    """Counts what one run does and passes everything on. ``model`` is an Orchestrator's name, of which there are few."""

    def __init__(self, inner: Observer, metrics: Metrics, model: str) -> None:
        self._inner = inner
        self._metrics = metrics
        self._model = model

    @override
    async def stored(self, facts: Sequence[Stamped]) -> None:
        for stamped in facts:
            match stamped.fact:
                case Decided(cost_nano_usd=cost, latency_ms=latency):
                    self._metrics.spent.labels(self._model, "decisions").inc(cost / NANO_PER_USD)
                    self._metrics.decision.labels(self._model).observe(latency / 1000)
                case AskFailed(cost_nano_usd=cost):
                    self._metrics.spent.labels(self._model, "decisions").inc(cost / NANO_PER_USD)
                case CallFinished(outcome=outcome):
                    self._metrics.calls.labels(self._model, outcome.status.value).inc()
                    self._metrics.spent.labels(self._model, "calls").inc(outcome.cost_nano_usd / NANO_PER_USD)
                case Ended(status=status):
                    self._metrics.runs.labels(self._model, status).inc()
                case _:
                    pass
        await self._inner.stored(facts)

    @override
    async def delta(self, kind: DeltaKind, text: str) -> None:
        await self._inner.delta(kind, text)
