"""Traces: to a collector over OTLP/HTTP when one is configured, else as JSON lines in files, else nowhere.

Libraries ask the OpenTelemetry API for a tracer and never come here; without ``configure_telemetry`` their spans cost
next to nothing. The set-up survives a fork: the span processor starts again in the child, whose spans get a file of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from toolorchestra.kit.dialects import OpenInferenceExporter
from toolorchestra.kit.settings import Dialect, TelemetrySettings
from toolorchestra.kit.spanfiles import FileSpanExporter

_FLUSH_MS = 5_000


@dataclass(frozen=True, slots=True)
class Telemetry:
    """A process's tracing; ``shutdown`` writes what still waits."""

    provider: TracerProvider

    def flush(self) -> None:
        """Write all finished spans now."""
        self.provider.force_flush(_FLUSH_MS)

    def shutdown(self) -> None:
        """Write all finished spans and stop."""
        self.provider.shutdown()


def configure_telemetry(service: str, settings: TelemetrySettings) -> Telemetry:
    """Set up tracing for this process and everything it forks.

    OpenTelemetry takes one set-up per process: a second call, e.g. in a forked child, returns the first one.
    """
    current = trace.get_tracer_provider()
    if isinstance(current, TracerProvider):
        return Telemetry(current)
    telemetry = build_telemetry(service, settings)
    trace.set_tracer_provider(telemetry.provider)
    return telemetry


def build_telemetry(service: str, settings: TelemetrySettings) -> Telemetry:
    """Tracing that is not the process's own, for code that is handed a provider."""
    provider = TracerProvider(
        resource=Resource({SERVICE_NAME: service}),
        sampler=ParentBased(TraceIdRatioBased(settings.sample_ratio)),
        shutdown_on_exit=True,
    )
    if exporter := _exporter(service, settings):
        provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=settings.delay_ms))
    return Telemetry(provider)


def inject() -> dict[str, str]:
    """The current trace context as W3C headers, to send with a request or a message; empty outside a trace."""
    headers: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(headers)
    return headers


def extract(headers: Mapping[str, str]) -> Context:
    """The trace context of received headers, whatever the case of their names; to pass as ``context=`` of a span."""
    return TraceContextTextMapPropagator().extract({name.lower(): value for name, value in headers.items()})


def _exporter(service: str, settings: TelemetrySettings) -> SpanExporter | None:
    exporter: SpanExporter
    if settings.otlp_endpoint:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - takes a while, and files need none

        exporter = OTLPSpanExporter(endpoint=f"{settings.otlp_endpoint.rstrip('/')}/v1/traces")
    elif settings.traces_folder:
        exporter = FileSpanExporter(settings.traces_folder, service=service, settings=settings)
    else:
        return None
    return OpenInferenceExporter(exporter) if settings.dialect is Dialect.OPENINFERENCE else exporter
