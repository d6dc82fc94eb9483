"""Logs: one line per event on standard error, as JSON or for people, with the trace it belongs to and without secrets.

Modules log through ``structlog.get_logger()`` or the standard library; both end in the same format. Loggers of the standard
library that others configured (servers, Celery) are led into it as well.
"""

import logging
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TextIO

import structlog
from opentelemetry import trace
from structlog.typing import EventDict, Processor, WrappedLogger

from toolorchestra.kit.settings import LogSettings

HIDDEN: Final = "***"
_SECRET_KEY: Final = re.compile(
    r"(^|[_-])(authorization|api[_-]?key|password|passwd|secret|token|pepper|cookie|credentials?)$", re.IGNORECASE
)
# Our own keys, bearer and basic credentials, keys of well-known providers, and passwords inside URLs.
_SECRET_TEXT: Final[Sequence[tuple[re.Pattern[str], str]]] = (
    (re.compile(r"\b(to_[A-Za-z0-9]{4,})\.[A-Za-z0-9_-]{8,}"), rf"\1.{HIDDEN}"),
    (re.compile(r"\b([Bb]earer|[Bb]asic)\s+(?=\S*[0-9A-Z=])[A-Za-z0-9._~+/=-]{6,}"), rf"\1 {HIDDEN}"),
    (re.compile(r"\b(sk|tvly|hf|ghp|xox[bp])([-_])[A-Za-z0-9_-]{10,}"), rf"\1\2{HIDDEN}"),
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*):[^\s@]+@"), rf"\1:{HIDDEN}@"),
)
_QUIET: Final = ("httpcore", "httpcore2", "httpx", "httpx2", "urllib3", "watchfiles", "asyncio")


def configure_logging(settings: LogSettings, *, service: str, stream: TextIO | None = None) -> None:
    """Set up logging for this process; calling it again replaces the earlier set-up."""
    shared = _shared_processors(service)
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(settings)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def adopt_loggers(*names: str) -> None:
    """Let loggers that a server configured for itself speak in our format, e.g. ``uvicorn``."""
    for name in names:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True


def add_trace(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Add the ids of the current trace and span, when there is one."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
        event["span_id"] = trace.format_span_id(context.span_id)
    return event


def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Hide secrets: values whose key says so, and texts that look like credentials."""
    return {key: redact_value(value, key=key) for key, value in event.items()}


def redact_value(value: Any, *, key: str = "") -> Any:
    """The value without secrets; mappings and sequences are searched."""
    if _SECRET_KEY.search(key) and value is not None:
        return HIDDEN
    match value:
        case str():
            return redact_text(value)
        case Mapping():
            return {name: redact_value(item, key=str(name)) for name, item in value.items()}
        case list() | tuple():
            return [redact_value(item) for item in value]
        case _:
            return value


def redact_text(text: str) -> str:
    """A text without what looks like a credential."""
    for pattern, replacement in _SECRET_TEXT:
        text = pattern.sub(replacement, text)
    return text


def _shared_processors(service: str) -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
        _stamp(service),
        add_trace,
    ]


def _rendering(settings: LogSettings) -> list[Processor]:
    """Exceptions become text before secrets are hidden, since they quote what failed."""
    if settings.format == "json":
        return [structlog.processors.format_exc_info, redact, structlog.processors.JSONRenderer(default=str)]
    plain = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
    return [structlog.processors.format_exc_info, redact, plain]


def _stamp(service: str) -> Callable[[WrappedLogger, str, EventDict], EventDict]:
    def add_service(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    return add_service
