"""What an episode wrote, token by token: one growing sequence, of which only the policy's own ids carry loss.

Nothing is encoded twice: an id that the policy sampled stays that id, whatever the text would be encoded to. What a turn
shows is appended, so the ids of turn n are a prefix of those of turn n + 1.
"""

from dataclasses import dataclass, field

from toolorchestra.core.errors import ToolOrchestraError
from toolorchestra.training.grpo.tokens import Codec


class PrefixError(ToolOrchestraError):
    """A prompt does not begin with what its episode has seen and written so far."""

    code = "prompt_not_append_only"


@dataclass(slots=True)
class Trajectory:
    """One entry per token: ``ids``, ``own`` (1: written by the policy), ``forced`` (1: written for it by exploration) and
    ``logprobs`` (of own tokens that were not forced, under the policy that sampled them; else 0).

    ``prompt`` counts the tokens before the first output.
    """

    codec: Codec
    ids: list[int] = field(default_factory=list)
    own: list[int] = field(default_factory=list)
    forced: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    prompt: int = 0
    turns: int = 0
    truncated: bool = False
    _text: str = ""
    _stopped: bool = False

    def show(self, prompt: str, *, begun: str = "") -> list[int]:
        """Append what the next turn shows; all ids so far. ``begun`` is the end of ``prompt`` that exploration wrote.

        Raises PrefixError.
        """
        if not prompt.startswith(self._text) or not prompt.endswith(begun):
            raise PrefixError(f"turn {self.turns + 1} is shown a prompt that does not go on from turn {self.turns}")
        shown = prompt[len(self._text) : len(prompt) - len(begun)]
        ids = self.codec.encode(shown)
        # The mark that ends the policy's turn was sampled already.
        self._append(ids[1:] if self._stopped and ids[:1] == [self.codec.stop] else ids)
        if self.turns == 0:
            self.prompt = len(self.ids)
        if begun:
            self._append(self.codec.encode(begun), own=1, forced=1)
        self._text = prompt
        return list(self.ids)

    def write(self, ids: list[int], logprobs: list[float]) -> str:
        """Append what the policy sampled, the mark of the turn's end included; its text without the mark."""
        self._append(ids, own=1, logprobs=logprobs)
        self._stopped = bool(ids) and ids[-1] == self.codec.stop
        self.truncated = self.truncated or not self._stopped
        self.turns += 1
        text = self.codec.decode(ids[:-1] if self._stopped else ids)
        self._text += text
        return text

    def _append(self, ids: list[int], *, own: int = 0, forced: int = 0, logprobs: list[float] | None = None) -> None:
        self.ids += ids
        self.own += [own] * len(ids)
        self.forced += [forced] * len(ids)
        self.logprobs += logprobs if logprobs is not None else [0.0] * len(ids)
