"""The one interface of everything that can manage a run: baselines, prompted models, trained managers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from toolorchestra.core.chat import Meter, OnDelta
from toolorchestra.core.functions import Function
from toolorchestra.core.loop.facts import Candidate, Decision
from toolorchestra.core.loop.state import State
from toolorchestra.core.pricing import Price, Usage
from toolorchestra.core.revision import Revision


@dataclass(frozen=True, slots=True)
class View:
    """What a policy sees: the run so far, and the functions that its hard rules leave."""

    state: State
    revision: Revision
    functions: tuple[Function, ...]

    @property
    def question(self) -> str:
        """The text of the newest user message."""
        return self.state.run.question

    @property
    def explored(self) -> str | None:
        """The function that this turn has to call, since it was drawn for the run's first; None where the policy chooses."""
        name = self.state.run.explored
        first = len(self.state.turns) <= 1
        return name if first and any(f.name == name for f in self.functions) else None


@dataclass(frozen=True, slots=True)
class Quote:
    """What asking can cost: the input bound in tokens and the price. Free for rules without a model.

    ``timeout_ms`` is the longest time of one call of the model; None where there is no model.
    """

    input_tokens: int = 0
    price: Price = field(default_factory=Price)
    max_output_tokens: int = 0
    timeout_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What one question to the policy is bound to. ``forced`` says why it must answer now."""

    max_tokens: int
    timeout_ms: int
    forced: str | None = None
    on_delta: OnDelta | None = None
    meter: Meter = field(default_factory=Meter)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """What the policy decided and what deciding used."""

    decision: Decision
    usage: Usage | None = None
    estimated: bool = False
    latency_ms: int = 0
    candidates: tuple[Candidate, ...] = ()
    format_hash: str | None = None
    finish_reason: str = "stop"


class Policy(Protocol):
    """Decides the next action of a run from what is stored, and nothing else."""

    def quote(self, view: View, *, forced: bool) -> Quote:
        """An upper bound of what the next ``decide`` uses; the hold is taken for it."""
        ...

    async def decide(self, view: View, terms: Terms) -> Reply:
        """The decision. Raises UpstreamError when the model fails."""
        ...
