"""Who writes the policy's turns: a batch of token sequences in, one continued turn of each out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from toolorchestra.core.errors import UpstreamError


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn to be written after ``ids``. ``temperature`` 0 takes the likeliest token each time.

    With a ``seed`` what is drawn follows from it, whatever is written beside it; None leaves that to the backend.
    """

    ids: Sequence[int]
    max_tokens: int
    temperature: float
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: ids, with the mark of the turn's end if it came to that, and their log-probabilities in nats.

    ``version`` names the weights that wrote it.
    """

    ids: list[int]
    logprobs: list[float]
    version: int


class PolicyBackend(Protocol):
    """Writes turns with the newest weights that it was given.

    ``overlapping``: it writes several batches at the same time; otherwise what is ready gathers while a batch is written.
    """

    overlapping: bool = False

    def begin(self, step: int) -> None:
        """Step ``step`` begins: its weights write from now on, and what is drawn follows from the step alone."""
        ...

    async def write(self, turns: Sequence[Turn]) -> list[Written]:
        """One ``Written`` per turn, in order. Raises UpstreamError when it cannot."""
        ...

    def figures(self) -> Mapping[str, float]:
        """What it measured of itself when the step began, for the run's metrics."""
        return {}


class PolicyUnavailableError(UpstreamError):
    """The policy could not be asked."""

    code = "policy_unavailable"
