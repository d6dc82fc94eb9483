"""Finished spans as JSON lines: one file per process and day, followed by another when it has grown large.

A line holds ``trace_id, span_id, parent_id`` (hex), ``name, kind, service``, ``start_ns, end_ns`` (since 1970), ``status``,
``message``, ``attributes`` and ``events``. ``traces`` reads them back.
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import structlog
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import format_span_id, format_trace_id
from typing_extensions import override

from toolorchestra.kit.settings import TelemetrySettings

SUFFIX: Final = ".spans.jsonl"
_DAY_S: Final = 86_400


class FileSpanExporter(SpanExporter):
    """Appends spans to files in a folder, which is created; old files are removed. Never raises: traces are not worth that."""

    def __init__(self, folder: Path, *, service: str, settings: TelemetrySettings) -> None:
        self._folder = folder
        self._service = service
        self._settings = settings
        self._reported = False

    @override
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        lines = "".join(f"{json.dumps(span_line(span, self._service), default=str)}\n" for span in spans)
        try:
            self._append(lines.encode())
        except OSError as error:
            self._report(error)
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def _append(self, lines: bytes) -> None:
        """One write per batch: readers see whole lines only, and a killed process loses at most its last batch."""
        path = self._file()
        if not path.exists():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # another process tidies up, too
                self._remove_old()
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, lines)
        finally:
            os.close(descriptor)

    def _file(self) -> Path:
        """Today's file of this process, whoever forked it: the first that has room."""
        stem = f"{datetime.now(UTC):%Y-%m-%d}-{self._service}-{os.getpid()}"
        number = 0
        while True:
            path = self._folder / f"{stem}-{number}{SUFFIX}"
            if not path.exists() or path.stat().st_size < self._settings.max_file_bytes:
                return path
            number += 1

    def _remove_old(self) -> None:
        """Remove what is too old, and the oldest of what is too much; called when a new file begins."""
        oldest, room = time.time() - self._settings.keep_days * _DAY_S, self._settings.max_folder_bytes
        files = sorted(((path.stat(), path) for path in self._folder.glob(f"*{SUFFIX}")), key=lambda file: -file[0].st_mtime)
        for found, path in files:
            room -= found.st_size
            if found.st_mtime < oldest or room < 0:
                path.unlink(missing_ok=True)

    def _report(self, error: OSError) -> None:
        if not self._reported:
            self._reported = True
            structlog.get_logger(__name__).warning("traces cannot be written", folder=str(self._folder), reason=str(error))


def span_line(span: ReadableSpan, service: str) -> Mapping[str, Any]:
    """A finished span as what one line holds."""
    context = span.get_span_context()
    if context is None:
        raise ValueError("a finished span has a context")
    return {
        "trace_id": format_trace_id(context.trace_id),
        "span_id": format_span_id(context.span_id),
        "parent_id": format_span_id(span.parent.span_id) if span.parent else None,
        "name": span.name,
        "kind": span.kind.name.lower(),
        "service": service,
        "start_ns": span.start_time or 0,
        "end_ns": span.end_time or 0,
        "status": span.status.status_code.name.lower(),
        "message": span.status.description or "",
        "attributes": dict(span.attributes or {}),
        "events": [_event(event) for event in span.events],
    }


def _event(event: Event) -> Mapping[str, Any]:
    return {"name": event.name, "time_ns": event.timestamp, "attributes": dict(event.attributes or {})}
