"""A tool call: what an executor is asked, and the outcome it owes.

An executor never raises for what a tool or model did; it returns an Outcome. It raises only for its own faults.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Protocol, TypeAlias

from toolorchestra.core.chat import Meter
from toolorchestra.core.functions import Frozen, Function
from toolorchestra.core.money import NanoUsd
from toolorchestra.core.pricing import Usage
from toolorchestra.core.storable import JsonObject, Text

CANCELLED: Final = "cancelled"  # the error code of what was broken off because its run was cancelled
INTERRUPTED: Final = "interrupted"  # the error code of what was under way when its process went away


class Status(StrEnum):
    """How a call ended. ``unknown``: the request may have had its effect, and nobody can tell."""

    OK = "ok"
    ERROR = "error"
    TIMEOUT = "timeout"
    DENIED = "denied"
    UNKNOWN = "unknown"


class Outcome(Frozen):
    """The end of one call.

    ``content`` is what the model will see (text, already capped to the tool's ``maxResultBytes``). ``cost_nano_usd`` is what
    the call cost by the pinned price; ``estimated`` marks a cost that the provider did not state. ``sent`` tells whether the
    request may have left this process. ``details`` is for people and traces (HTTP status, sandbox rung), never for models.
    """

    status: Status
    content: Text
    cost_nano_usd: NanoUsd = 0
    estimated: bool = False
    usage: Usage | None = None
    latency_ms: int = 0
    sent: bool = True
    truncated: bool = False
    error_code: str | None = None
    details: JsonObject = {}


DeltaSink: TypeAlias = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class CallRequest:
    """One call to execute.

    ``timeout_ms`` is what is left until the call's deadline. ``idempotency_key`` is the same for every attempt.
    ``max_output_tokens`` bounds an expert's answer: the hold was taken for it. ``on_delta`` receives text as it arrives.
    ``meter`` tells who breaks the call off whether it may have left, and what it has used. ``session`` is the client's name for
    what the call is part of; for HTTP peers it stands in ``headers`` too (``core.sessions``).
    """

    call_id: str
    run_id: str
    tenant: str
    function: Function
    arguments: Mapping[str, Any]
    attempt: int
    idempotency_key: str
    timeout_ms: int
    max_output_tokens: int = 0
    session: str | None = None
    on_delta: DeltaSink | None = None
    headers: Mapping[str, str] = field(default_factory=dict)  # W3C trace context and baggage, to pass on
    meter: Meter = field(default_factory=Meter)


class Executor(Protocol):
    """Executes calls of one kind of backend."""

    async def execute(self, call: CallRequest) -> Outcome:
        """Run the call and return its outcome; cancellation is passed on to the backend, and ``call.meter`` is true by then."""
        ...


class SecretReader(Protocol):
    """Reads secret values at send time."""

    async def read(self, namespace: str, name: str, key: str) -> str:
        """The value. Raises NotFoundError that says how to provide it."""
        ...
