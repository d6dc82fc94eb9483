"""Headers of requests to tools, with secrets read when they are needed and never before."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from opentelemetry import propagate

from toolorchestra.core.calls import SecretReader
from toolorchestra.core.errors import InvalidManifestError
from toolorchestra.core.resources.meta import Header
from toolorchestra.executors.templates import Arguments, fits_header, header_value

NO_ARGUMENTS: Final = Arguments({}, frozenset())


async def read_headers(
    headers: Sequence[Header],
    secrets: SecretReader,
    namespace: str,
    *,
    arguments: Arguments = NO_ARGUMENTS,
    field: str = "spec.http.headers",
) -> dict[str, str]:
    """The headers to send; secrets come from ``namespace``, the tool's own. Raises NotFoundError for a missing secret."""
    found: dict[str, str] = {}
    for header in headers:
        value = await _value(header, secrets, namespace, arguments, field)
        if value is not None:
            found[header.name] = header.prefix + value
    return found


def trace_headers(passed: Mapping[str, str]) -> dict[str, str]:
    """W3C trace context of the current span; without one, what the caller passed on."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return {**passed, **carrier}


async def _value(header: Header, secrets: SecretReader, namespace: str, arguments: Arguments, field: str) -> str | None:
    ref = header.secret_key_ref
    if ref is None:
        return header_value(header.value or "", arguments, field=field)
    # Files end with a line break and so do many secrets made from them; a header must not.
    value = (await secrets.read(namespace, ref.name, ref.key)).strip()
    if not fits_header(value):
        raise InvalidManifestError(
            f"the Secret {ref.name!r}, key {ref.key!r}, does not fit into a header", param=field, hint="check its value"
        )
    return value


def span_attributes(values: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes of a span without the unknown ones, which the API refuses."""
    return {key: value for key, value in values.items() if value is not None}
