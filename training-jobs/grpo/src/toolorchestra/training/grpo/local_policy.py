"""The policy in this process: batched sampling from a Hugging Face causal language model with a key-value cache."""

import asyncio
import zlib
from collections.abc import Sequence
from typing import Any, Final

import torch
from peft import PeftModel
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from typing_extensions import override

from toolorchestra.training.grpo.policies import PolicyBackend, Turn, Written
from toolorchestra.training.grpo.tokens import Codec

GREEDY_BELOW: Final = 1e-6


class LocalPolicy(PolicyBackend):
    """Samples from ``model`` as it is now. Rows of a batch are padded on the left, so that all go on at the same place."""

    def __init__(self, model: PreTrainedModel | PeftModel, codec: Codec, *, seed: int) -> None:
        self._model = model
        self._codec = codec
        self._seed = seed
        self._random = torch.Generator()
        self._version = 0
        self.begin(0)

    @override
    def begin(self, step: int) -> None:
        self._version = step
        self._random.manual_seed(zlib.crc32(f"{self._seed}/{step}".encode()))

    @override
    async def write(self, turns: Sequence[Turn]) -> list[Written]:
        return await asyncio.to_thread(self.sample, turns)

    def sample(self, turns: Sequence[Turn]) -> list[Written]:
        """The same, at once."""
        training = self._model.training
        self._model.eval()
        try:
            with torch.inference_mode():
                ids, logprobs = self._loop(turns)
        finally:
            self._model.train(training)
        return [Written(one, some, self._version) for one, some in zip(ids, logprobs, strict=True)]

    def _loop(self, turns: Sequence[Turn]) -> tuple[list[list[int]], list[list[float]]]:
        device = self._model.device
        ids, mask = _padded([turn.ids for turn in turns], self._codec.pad)
        ids, mask = ids.to(device), mask.to(device)
        temperature = torch.tensor([turn.temperature for turn in turns], device=device)
        most = torch.tensor([turn.max_tokens for turn in turns], device=device)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        cache, written, scores = DynamicCache(), list[Tensor](), list[Tensor]()
        going = torch.ones(len(turns), dtype=torch.bool, device=device)
        draws = self._draws(turns).to(device)
        step = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
        while True:
            newest, score = self._next(step, cache, temperature, draws[:, len(written)])
            newest = torch.where(going, newest, self._codec.pad)
            written.append(newest)
            scores.append(score)
            going = going & (newest != self._codec.stop) & (len(written) < most)
            if not bool(going.any()):
                break
            mask = torch.cat([mask, torch.ones_like(mask[:, :1])], dim=1)
            positions = positions[:, -1:] + 1
            step = {"input_ids": newest[:, None], "attention_mask": mask, "position_ids": positions}
        lengths = _lengths(torch.stack(written, 1), self._codec.stop, most)
        return _cut(torch.stack(written, 1).tolist(), lengths), _cut(torch.stack(scores, 1).tolist(), lengths)

    def _draws(self, turns: Sequence[Turn]) -> Tensor:
        """For each token that may come a number in [0, 1), which says at what place of the distribution it is taken."""
        found = torch.zeros(len(turns), max(turn.max_tokens for turn in turns), dtype=torch.float64)
        for row, turn in zip(found, turns, strict=True):
            own = self._random if turn.seed is None else torch.Generator().manual_seed(turn.seed)
            row[: turn.max_tokens] = torch.rand(turn.max_tokens, generator=own, dtype=torch.float64)
        return found

    def _next(self, step: dict[str, Tensor], cache: DynamicCache, temperature: Tensor, draw: Tensor) -> tuple[Tensor, Tensor]:
        """The next token of each row, and its log-probability at that temperature (at 1 for greedy rows)."""
        output: Any = self._model(**step, past_key_values=cache, use_cache=True, logits_to_keep=1)
        logits = output.logits[:, -1].float()
        greedy = temperature < GREEDY_BELOW
        scaled = torch.log_softmax(logits / torch.where(greedy, 1.0, temperature)[:, None], dim=-1)
        up_to = scaled.exp().cumsum(dim=-1, dtype=torch.float64)
        place = torch.searchsorted(up_to, (draw * up_to[:, -1])[:, None], right=True)[:, 0]
        drawn = place.clamp(max=up_to.shape[1] - 1)
        newest = torch.where(greedy, logits.argmax(dim=-1), drawn)
        return newest, scaled.gather(1, newest[:, None])[:, 0]


def _padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    width = max(map(len, rows))
    ids = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return ids, mask


def _lengths(written: Tensor, stop: int, most: Tensor) -> list[int]:
    """How many tokens of each row count: up to its mark, or to its limit."""
    stops = written == stop
    first = torch.where(stops.any(dim=1), stops.float().argmax(dim=1) + 1, written.shape[1])
    found: list[int] = torch.minimum(first, most).tolist()
    return found


def _cut(rows: list[list[Any]], lengths: Sequence[int]) -> list[list[Any]]:
    return [row[:length] for row, length in zip(rows, lengths, strict=True)]
