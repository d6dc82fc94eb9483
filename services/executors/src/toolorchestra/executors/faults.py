"""What people are told of a probe that failed: the field that led there, what happened, and the fix. Pure."""

from http import HTTPStatus
from typing import Final

from toolorchestra.core.errors import NotFoundError, ToolOrchestraError, UpstreamError

SERVED: Final = "the InferenceService's address"
_TLS_HINT: Final = "write http:// for a server without TLS"
# What OpenSSL says to an answer that is not TLS, and to a signature that it does not know.
_HINTS: Final = (
    ("record layer failure", _TLS_HINT),
    ("wrong version number", _TLS_HINT),
    ("certificate verify failed", "give the server a certificate for this name by a public authority"),
)
_UPSTREAM_HINT: Final = "correct it, or see that the server runs and answers"
_BASE_URL_HINT: Final = "correct it: it goes up to and with the version, e.g. https://host/v1"
_KEY: Final = "spec.endpoint.apiKeySecretRef"


def blamed(error: ToolOrchestraError, *, field: str) -> str:
    """The error in words that name the field; ``field`` is the one that was followed, unless the error knows better."""
    if isinstance(error, NotFoundError):  # a Secret: what to do stands in its own words
        return str(error)
    where = error.param if error.param and error.param.startswith("spec.") else field
    text = str(error) if error.hint or not isinstance(error, UpstreamError) else f"{error} ({_hint(str(error))})"
    return text if where in text else f"{where}: {text}"


def not_served(refusals: list[str], *, field: str) -> str:
    """No list of models was found; ``refusals`` says where it was looked for."""
    hint = "see the server's log" if field == SERVED else _BASE_URL_HINT
    return f"{field}: no list of models ({'; '.join(refusals)}); {hint}"


def refused(status: int, location: str | None) -> str:
    """An answer that is no list of models."""
    if location is not None:
        return f"HTTP {status}, redirects to {location}, and redirects are not followed"
    return f"HTTP {status}, but no such list" if status == HTTPStatus.OK else f"HTTP {status}"


def unauthorized(url: str, status: int, *, with_key: bool) -> str:
    """A server that wants a key, or another one."""
    fix = f"check the key of the endpoint in the Secret of {_KEY}" if with_key else f"set {_KEY}"
    return f"{url} answered HTTP {status}; {fix}"


def _hint(text: str) -> str:
    return next((hint for part, hint in _HINTS if part in text.lower()), _UPSTREAM_HINT)
