"""One error root for the whole platform.

    ToolOrchestraError
    ├── InvalidRequestError        400  the caller can fix it
    │   ├── InvalidManifestError        a resource file or object
    │   └── InvalidArgumentsError       arguments of a tool call
    ├── UnauthenticatedError       401
    ├── ForbiddenError             403
    │   └── EgressDeniedError           an address that the egress guard refuses
    ├── NotFoundError              404
    │   └── ModelNotFoundError
    ├── ConflictError              409
    ├── BudgetExceededError        429  never retried by clients
    ├── UnpricedError              429  a price is unknown and the policy refuses
    ├── RateLimitedError           429  retryable
    ├── UpstreamError              502  a tool or model failed
    │   └── UpstreamTimeoutError   504
    └── UnavailableError           503  a part of ours is down or not ready

Each class names the boundary that failed; each edge maps it once: the API to the OpenAI error body, the worker to an
outcome, the operator to a retry or a condition.
"""

from typing import ClassVar

from typing_extensions import override


class ToolOrchestraError(Exception):
    """Root of all errors raised on purpose.

    ``message`` says what is wrong, ``param`` names the field, ``hint`` says what to do.
    """

    code: ClassVar[str] = "internal_error"
    http_status: ClassVar[int] = 500
    retryable: bool = False  # whether the same may work later

    def __init__(self, message: str, *, param: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.hint = hint

    @override
    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class InvalidRequestError(ToolOrchestraError):
    code = "invalid_request"
    http_status = 400


class InvalidManifestError(InvalidRequestError):
    code = "invalid_manifest"


class InvalidArgumentsError(InvalidRequestError):
    code = "invalid_arguments"


class UnauthenticatedError(ToolOrchestraError):
    code = "invalid_api_key"
    http_status = 401


class ForbiddenError(ToolOrchestraError):
    code = "forbidden"
    http_status = 403


class EgressDeniedError(ForbiddenError):
    code = "egress_denied"


class NotFoundError(ToolOrchestraError):
    code = "not_found"
    http_status = 404


class ModelNotFoundError(NotFoundError):
    code = "model_not_found"


class ConflictError(ToolOrchestraError):
    code = "conflict"
    http_status = 409


class BudgetExceededError(ToolOrchestraError):
    code = "insufficient_quota"
    http_status = 429


class UnpricedError(BudgetExceededError):
    code = "unknown_price"


class RateLimitedError(ToolOrchestraError):
    code = "rate_limit_exceeded"
    http_status = 429
    retryable = True


class UpstreamError(ToolOrchestraError):
    code = "upstream_error"
    http_status = 502
    retryable = True


class UpstreamTimeoutError(UpstreamError):
    code = "upstream_timeout"
    http_status = 504


class UnavailableError(ToolOrchestraError):
    code = "unavailable"
    http_status = 503
    retryable = True
