"""The facts of a run: what is stored, in order, and never changed.

State is a fold of these (``loop.state``). A fact carries every choice and every number that it was decided on, so newer code
never decides the past again. Each type has a version ``v``; ``upcast`` lifts stored bodies of older versions.
Times are milliseconds, money is nano-USD; the storing journal stamps ``at`` (its clock, never ours).
"""

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field, TypeAdapter

from toolorchestra.core.calls import Outcome
from toolorchestra.core.chat import content_text
from toolorchestra.core.functions import Frozen
from toolorchestra.core.money import NanoUsd
from toolorchestra.core.pricing import Usage
from toolorchestra.core.resources.orchestrator import PreferenceSpec
from toolorchestra.core.storable import JsonObject, Text

EVENT_VERSION: Final = 1  # highest version of any fact below; a replica leases only runs it can read


class Limits(Frozen):
    """Limits of one run, already the tightest of request, Orchestrator and tenant."""

    max_turns: int
    max_output_tokens: int
    timeout_ms: int
    max_total_tokens: int | None = None
    max_cost_nano_usd: NanoUsd | None = None


class Sampling(Frozen):
    """What the client asked of the answer's form."""

    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[Text, ...] = ()
    response_format: JsonObject | None = None


class Reserve(Frozen):
    """The hold set aside to pay one clamped closing answer; ``hold`` is its name within the run."""

    hold: str = "final"
    nano_usd: NanoUsd = 0
    max_tokens: int = 0


class Intent(Frozen):
    """A call that the policy wants: ``client`` marks a function of the client's own, which we hand back."""

    function: Text
    arguments: JsonObject
    id: Text = ""
    reason: Text = ""
    client: bool = False
    problem: Text | None = None  # why it cannot be made (unknown function, bad arguments, forbidden); becomes an observation


class Candidate(Frozen):
    """What the policy could have chosen, for the explanation of a run."""

    function: str
    worst_case_nano_usd: NanoUsd
    typical_latency_ms: int | None = None
    score: float | None = None


class Decision(Frozen):
    """What the policy decided: calls, or a text, or to hand on the result of an earlier call word for word.

    None of the three: it has nothing more to try, and a closing answer is due.
    """

    calls: tuple[Intent, ...] = ()
    text: Text | None = None
    answer_from: Text | None = None  # id of an earlier call: "turn/ordinal"
    reasoning: Text = ""
    reason: Text = ""
    output: Text = ""  # the manager's own bytes, in the format of managers trained here


class Opened(Frozen):
    type: Literal["opened"] = "opened"
    v: int = 1
    model: str
    policy: str  # "baseline:cascade", "expert:namespace/name", "passthrough:namespace/name"
    tenant: str
    key: str
    revision: str
    messages: tuple[JsonObject, ...]
    client_tools: tuple[JsonObject, ...] = ()
    preference: PreferenceSpec = PreferenceSpec()
    limits: Limits
    sampling: Sampling = Sampling()
    seed: int = 0
    reserve: Reserve = Reserve()
    explored: str | None = None  # a first function drawn at random, for off-policy estimates
    on_disconnect: Literal["cancel", "continue"] = "cancel"
    metadata: dict[str, str] = {}
    traceparent: str | None = None
    session: str | None = None  # named by the client; travels with every call

    @property
    def question(self) -> str:
        """The text of the newest user message."""
        newest = next((m for m in reversed(self.messages) if m.get("role") == "user"), {})
        return content_text(newest.get("content"))


class Asked(Frozen):
    """The policy is being asked. ``forced``: why it must answer now."""

    type: Literal["asked"] = "asked"
    v: int = 1
    turn: int
    attempt: int
    max_tokens: int
    hold_nano_usd: NanoUsd
    timeout_ms: int
    forced: Text | None = None


class Decided(Frozen):
    type: Literal["decided"] = "decided"
    v: int = 1
    turn: int
    attempt: int
    decision: Decision
    usage: Usage | None = None
    cost_nano_usd: NanoUsd = 0
    estimated: bool = False
    latency_ms: int = 0
    candidates: tuple[Candidate, ...] = ()  # none: those of the turn before
    format_hash: str | None = None
    finish_reason: str = "stop"


class AskFailed(Frozen):
    """Asking did not give a decision. ``denied``: there was no money for it. An interrupted question costs its hold."""

    type: Literal["ask_failed"] = "ask_failed"
    v: int = 1
    turn: int
    attempt: int
    error_code: str
    message: Text
    retryable: bool = False
    denied: bool = False
    usage: Usage | None = None
    cost_nano_usd: NanoUsd = 0
    estimated: bool = False
    latency_ms: int = 0


class StartedCall(Frozen):
    ordinal: int
    attempt: int
    hold_nano_usd: NanoUsd
    timeout_ms: int
    max_output_tokens: int = 0
    execution: Literal["inline", "queued", "sandbox"] = "inline"
    lost_nano_usd: NanoUsd = 0  # charged for an earlier, interrupted attempt


class CallsStarted(Frozen):
    type: Literal["calls_started"] = "calls_started"
    v: int = 1
    turn: int
    calls: tuple[StartedCall, ...]


class CallFinished(Frozen):
    type: Literal["call_finished"] = "call_finished"
    v: int = 1
    turn: int
    ordinal: int
    attempt: int
    outcome: Outcome


class Parked(Frozen):
    """The run waits for the client's tools: no lease, no hold."""

    type: Literal["parked"] = "parked"
    v: int = 1
    turn: int


class Continued(Frozen):
    """The client's answers arrived, by ordinal."""

    type: Literal["continued"] = "continued"
    v: int = 1
    turn: int
    results: dict[int, Text]
    reserve: Reserve = Reserve()


class Resumed(Frozen):
    """Another process took the run over; what was in flight is interrupted."""

    type: Literal["resumed"] = "resumed"
    v: int = 1
    owner: str


class CancelRequested(Frozen):
    type: Literal["cancel_requested"] = "cancel_requested"
    v: int = 1
    by: str


class Ended(Frozen):
    """The run is over. ``answer`` is what the user gets; ``answer_from`` the call it was handed on from."""

    type: Literal["ended"] = "ended"
    v: int = 1
    status: Literal["completed", "cancelled", "failed"]
    finish_reason: Literal["stop", "length", "content_filter"] = "stop"
    answer: Text
    reason: Text
    answer_from: str | None = None


Fact: TypeAlias = (
    Opened | Asked | Decided | AskFailed | CallsStarted | CallFinished | Parked | Continued | Resumed | CancelRequested | Ended
)
_ADAPTER: Final[TypeAdapter[Fact]] = TypeAdapter(Annotated[Fact, Field(discriminator="type")])


def dump(fact: Fact) -> dict[str, Any]:
    """A fact as JSON values, for storage."""
    return fact.model_dump(mode="json", exclude_defaults=True) | {"type": fact.type, "v": fact.v}


def load(body: dict[str, Any]) -> Fact:
    """A stored body as a fact of today's version."""
    return _ADAPTER.validate_python(upcast(body))


def upcast(body: dict[str, Any]) -> dict[str, Any]:
    """Lift a stored body to today's shape. Version 1 is the first: nothing to lift yet."""
    if body.get("v", 1) > EVENT_VERSION:
        raise ValueError(f"fact of version {body['v']} is newer than this program reads ({EVENT_VERSION})")
    return body
