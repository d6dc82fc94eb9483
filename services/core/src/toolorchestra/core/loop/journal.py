"""The seam between the loop and storage: a transition goes in, stamped facts come out.

A transition is one transaction, in this order: append facts, write call rows, move money, commit. Two journals implement it:
``loop.memory`` and the ledger's. Holds are named ``run/turn/ordinal/attempt`` (ordinal 0 is the policy itself), the closing
reserve ``run/final``.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

from toolorchestra.core.calls import Outcome
from toolorchestra.core.errors import BudgetExceededError, ConflictError
from toolorchestra.core.loop.facts import Fact
from toolorchestra.core.money import NanoUsd, format_usd

_OWNERS: Final = {"t": "tenant", "k": "key"}


@dataclass(frozen=True, slots=True)
class Take:
    """Reserve ``amount_nano_usd`` under the name ``hold`` for ``ttl_ms``. ``sent``: the request leaves right after commit."""

    hold: str
    amount_nano_usd: NanoUsd
    ttl_ms: int
    sent: bool = True


@dataclass(frozen=True, slots=True)
class Settle:
    """Replace a hold by what was really spent (0 releases it). ``estimate``: the provider did not state it."""

    hold: str
    actual_nano_usd: NanoUsd
    estimate: bool = False


@dataclass(frozen=True, slots=True)
class CallStart:
    """A call row to write. A later attempt of a call overwrites the row of the earlier one and keeps it as an attempt."""

    turn: int
    ordinal: int
    attempt: int
    function: str
    arguments: dict[str, Any]
    execution: str
    side_effects: str
    timeout_ms: int
    hold: str
    hold_nano_usd: NanoUsd
    max_output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class CallEnd:
    """The outcome of a call that this process ran, for its row."""

    turn: int
    ordinal: int
    attempt: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Transition:
    """One step of one run, all or nothing. ``after`` is the seq of the last stored fact: the fence.

    ``ends`` are applied before ``starts``, ``settles`` before ``takes``: a lost attempt is closed before the next one opens.
    """

    run_id: str
    after: int
    facts: tuple[Fact, ...]
    takes: tuple[Take, ...] = ()
    settles: tuple[Settle, ...] = ()
    starts: tuple[CallStart, ...] = ()
    ends: tuple[CallEnd, ...] = ()
    closes: bool = False  # the run ends: its slot, its account and its lease are given back
    parks: bool = False  # the run waits: slot and lease are given back


@dataclass(frozen=True, slots=True)
class Stamped:
    """A stored fact: its place in the run's log and the journal's time."""

    seq: int
    at: datetime
    fact: Fact


@dataclass(frozen=True, slots=True)
class Denial:
    """Why a hold was refused: the account and window, and what is left there."""

    hold: str
    account: str
    window: str
    limit_nano_usd: NanoUsd
    spent_nano_usd: NanoUsd
    held_nano_usd: NanoUsd
    unit: str = "nano_usd"
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def left_nano_usd(self) -> NanoUsd:
        return max(0, self.limit_nano_usd - self.spent_nano_usd - self.held_nano_usd)


class DeniedError(BudgetExceededError):
    """A hold was refused; nothing of the transition was stored."""

    def __init__(self, denial: Denial) -> None:
        super().__init__(_refusal(denial))
        self.denial = denial


def _refusal(denial: Denial) -> str:
    """A refusal in words: whose limit, which one, and what is left."""
    kind, _, name = denial.account.partition(":")
    who = "this run" if kind == "r" else f"{_OWNERS.get(kind, 'account')} {name or denial.account!r}"
    span = "in total" if denial.window == "total" else f"per {denial.window}"
    match denial.window, denial.unit:
        case "closed", _:
            return f"{who} may spend no more: it was revoked or has ended"
        case "none", _:
            return f"{who} has no budget"
        case _, "slots":
            return f"{who} may have {denial.limit_nano_usd} runs at once"
        case _, "requests":
            return f"{who} may send {denial.limit_nano_usd} requests {span}"
        case _:
            left, limit = format_usd(denial.left_nano_usd), format_usd(denial.limit_nano_usd)
            return f"the budget of {who} does not allow it: ${left} of ${limit} {span} is left"


class FencedError(ConflictError):
    """Another process owns the run now; stop and touch nothing."""

    code = "fenced"


class Journal(Protocol):
    """Stores transitions of runs."""

    async def commit(self, transition: Transition) -> tuple[Stamped, ...]:
        """Store all of it or nothing. Raises DeniedError (money) or FencedError (ownership)."""
        ...
