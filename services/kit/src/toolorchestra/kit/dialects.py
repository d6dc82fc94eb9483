"""Finished spans in another dialect: what OpenTelemetry's GenAI conventions call one thing, OpenInference calls another.

Code writes spans in GenAI only; the translation happens where spans leave the process, off the path of any call.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from typing_extensions import override

from toolorchestra.core.money import NANO_PER_USD
from toolorchestra.kit import semconv


class OpenInferenceExporter(SpanExporter):
    """Exports spans with the attributes of OpenInference in the place of those of GenAI."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner

    @override
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._inner.export([_translated(span) for span in spans])

    @override
    def shutdown(self) -> None:
        self._inner.shutdown()

    @override
    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._inner.force_flush(timeout_millis)


def openinference(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a span in OpenInference. Ours and those of no convention stay, among them the cost as an integer.

    Only spans of models get ``llm.cost.total``: backends add it up, and what other spans cost contains that of these.
    """
    kind = semconv.OI_KINDS.get(str(attributes.get(semconv.OPERATION_NAME)), semconv.OI_OTHER_KIND)
    found = {semconv.OI_SPAN_KIND: kind}
    found |= {name: value for name, value in attributes.items() if not name.startswith("gen_ai.")}
    for name, others in semconv.OI_NAMES.items():
        if name in attributes:
            found |= dict.fromkeys(others, attributes[name])
    return found | _of_model(attributes) if kind == "LLM" else found


def _of_model(attributes: Mapping[str, Any]) -> dict[str, Any]:
    parameters = {key: attributes[name] for name, key in semconv.OI_PARAMETERS.items() if name in attributes}
    found: dict[str, Any] = {semconv.OI_INVOCATION_PARAMETERS: json.dumps(parameters)}
    tokens = [attributes.get(semconv.USAGE_INPUT_TOKENS), attributes.get(semconv.USAGE_OUTPUT_TOKENS)]
    if None not in tokens:
        found[semconv.OI_TOKENS_TOTAL] = sum(tokens)
    if semconv.COST_NANO_USD in attributes:
        found[semconv.OI_COST_TOTAL] = attributes[semconv.COST_NANO_USD] / NANO_PER_USD
    return found


def _translated(span: ReadableSpan) -> ReadableSpan:
    return ReadableSpan(
        name=span.name,
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes=openinference(span.attributes or {}),
        events=span.events,
        links=span.links,
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )
