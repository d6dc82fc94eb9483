"""What the operator counts, for Prometheus."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from toolorchestra.operator.plan import Condition, State
from toolorchestra.operator.services.kinds import Reference

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """One registry per operator."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reconciles = Counter(
            "toolorchestra_operator_reconciles", "Reconciles, by how they ended.", ("kind", "result"), registry=self.registry
        )
        self.duration = Histogram(
            "toolorchestra_operator_reconcile_seconds", "Time of one reconcile.", ("kind",),
            buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self.queue = Gauge("toolorchestra_operator_queue_depth", "Resources that wait for a reconcile.", registry=self.registry)
        self.writes = Counter(
            "toolorchestra_operator_api_writes", "Requests that changed something at the API server.",
            ("kind", "what"), registry=self.registry,
        )  # fmt: skip
        self.conditions = Gauge(
            "toolorchestra_operator_conditions", "Resources by condition and its status.",
            ("kind", "type", "status"), registry=self.registry,
        )  # fmt: skip
        self.silence = Gauge(
            "toolorchestra_operator_watch_silence_seconds", "Time since a watch last gave a sign of life.",
            ("kind",), registry=self.registry,
        )  # fmt: skip
        self._counted: dict[Reference, tuple[tuple[str, State], ...]] = {}

    def observe(self, reference: Reference, conditions: tuple[Condition, ...]) -> None:
        """Count a resource under its conditions instead of its earlier ones; none when it is gone."""
        for kind, state in self._counted.pop(reference, ()):
            self.conditions.labels(reference.kind, kind, state.value).dec()
        for condition in conditions:
            self.conditions.labels(reference.kind, condition.type, condition.state.value).inc()
        if conditions:
            self._counted[reference] = tuple((one.type, one.state) for one in conditions)

    def render(self) -> bytes:
        """The exposition text."""
        return generate_latest(self.registry)
