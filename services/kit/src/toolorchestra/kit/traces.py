"""Reads span files back: the spans of one trace, and the tree they form."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.core.money import NanoUsd
from toolorchestra.kit.semconv import COST_NANO_USD
from toolorchestra.kit.spanfiles import SUFFIX

_NS_PER_MS: Final = 1_000_000
_TRACE_ID_DIGITS: Final = 32


class SpanRecord(BaseModel):
    """One finished span, as a line of a span file holds it; times in ns since 1970."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    trace_id: str
    span_id: str
    parent_id: str | None = None
    name: str
    kind: str = "internal"
    service: str = ""
    start_ns: int
    end_ns: int
    status: str = "unset"
    message: str = ""
    attributes: Mapping[str, Any] = Field(default_factory=dict)
    events: tuple[Mapping[str, Any], ...] = ()

    @property
    def duration_ms(self) -> float:
        return (self.end_ns - self.start_ns) / _NS_PER_MS

    @property
    def cost_nano_usd(self) -> NanoUsd | None:
        """What the span says it cost; a parent's cost holds its children's, so costs of a tree are not added up."""
        cost = self.attributes.get(COST_NANO_USD)
        return cost if isinstance(cost, int) else None


@dataclass(frozen=True, slots=True)
class SpanNode:
    """A span with the spans it caused, in order of their start."""

    span: SpanRecord
    children: tuple["SpanNode", ...] = field(default=())

    def walk(self, depth: int = 0) -> Iterator[tuple[int, SpanRecord]]:
        """All spans below and with this one, each with its depth, parents first."""
        yield depth, self.span
        for child in self.children:
            yield from child.walk(depth + 1)


def find_trace(folder: Path, trace_id: str) -> list[SpanRecord]:
    """The spans of a trace in order of their start; empty when it is not there. Raises InvalidRequestError for a bad id."""
    wanted = trace_id.strip().lower()
    if len(wanted) != _TRACE_ID_DIGITS or not set(wanted) <= set("0123456789abcdef"):
        raise InvalidRequestError(f"{trace_id!r} is not a trace id", param="trace_id", hint="it has 32 hexadecimal digits")
    found = {span.span_id: span for path in folder.glob(f"*{SUFFIX}") for span in _spans(path, wanted)}
    return sorted(found.values(), key=lambda span: (span.start_ns, span.span_id))


def build_tree(spans: Iterable[SpanRecord]) -> tuple[SpanNode, ...]:
    """The roots: spans without a parent, and spans whose parent was not recorded here."""
    ordered = sorted(spans, key=lambda span: (span.start_ns, span.span_id))
    known = {span.span_id for span in ordered}
    children: defaultdict[str | None, list[SpanRecord]] = defaultdict(list)
    for span in ordered:
        children[span.parent_id if span.parent_id in known else None].append(span)

    def node(span: SpanRecord) -> SpanNode:
        return SpanNode(span, tuple(node(child) for child in children[span.span_id]))

    return tuple(node(root) for root in children[None])


def _spans(path: Path, trace_id: str) -> Iterator[SpanRecord]:
    """Lines are searched as bytes first: most belong to other traces. Broken lines, e.g. of a full disk, are passed over."""
    mark = trace_id.encode()
    with path.open("rb") as file:
        for line in file:
            if mark not in line:
                continue
            try:
                span = SpanRecord.model_validate_json(line)
            except ValidationError:
                continue
            if span.trace_id == trace_id:
                yield span
