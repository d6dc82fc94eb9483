"""The policy in this process: batched sampling from a Hugging Face causal language model with a key-value cache.

A group's rows begin with the same prompt, which is read once; a row that has ended takes no further time.
"""

import asyncio
import zlib
from collections.abc import Sequence
from itertools import count
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
    """Samples from ``model`` as it is now. Prompts are padded on the left, so that all go on at the same place."""

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
        logits, mask, cache = self._read([turn.ids for turn in turns])
        device = logits.device
        temperature = torch.tensor([turn.temperature for turn in turns], device=device)
        most = torch.tensor([turn.max_tokens for turn in turns], device=device)
        draws, rows = self._draws(turns).to(device), torch.arange(len(turns), device=device)
        written, scores = [list[int]() for _ in turns], [list[float]() for _ in turns]
        for number in count():
            newest, score = _chosen(logits, temperature[rows], draws[rows, number])
            for row, one, what in zip(rows.tolist(), newest.tolist(), score.tolist(), strict=True):
                written[row].append(one)
                scores[row].append(what)
            on = ((newest != self._codec.stop) & (number + 1 < most[rows])).nonzero()[:, 0]
            if not len(on):
                break
            cache.batch_select_indices(on)
            rows, mask = rows[on], torch.cat([mask[on], torch.ones_like(mask[on, :1])], dim=1)
            logits = self._logits(newest[on, None], mask, cache)
        return written, scores

    def _read(self, prompts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, DynamicCache]:
        """What comes after each prompt, with its mask and keys; each distinct prompt is read once."""
        device, cache = self._model.device, DynamicCache()
        distinct = list({tuple(prompt): None for prompt in prompts})
        ids, mask = _padded(distinct, self._codec.pad)
        logits = self._logits(ids.to(device), mask.to(device), cache)
        places = {prompt: place for place, prompt in enumerate(distinct)}
        rows = torch.tensor([places[tuple(prompt)] for prompt in prompts], device=device)
        cache.batch_select_indices(rows)
        return logits[rows], mask.to(device)[rows], cache

    def _logits(self, ids: Tensor, mask: Tensor, cache: DynamicCache) -> Tensor:
        """Of the token after ``ids``, which are the last columns of ``mask``."""
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        step = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
        output: Any = self._model(**step, past_key_values=cache, use_cache=True, logits_to_keep=1)
        found: Tensor = output.logits[:, -1].float()
        return found

    def _draws(self, turns: Sequence[Turn]) -> Tensor:
        """For each token that may come a number in [0, 1), which says at what place of the distribution it is taken."""
        found = torch.zeros(len(turns), max(turn.max_tokens for turn in turns), dtype=torch.float64)
        for row, turn in zip(found, turns, strict=True):
            own = self._random if turn.seed is None else torch.Generator().manual_seed(turn.seed)
            row[: turn.max_tokens] = torch.rand(turn.max_tokens, generator=own, dtype=torch.float64)
        return found


def _chosen(logits: Tensor, temperature: Tensor, draw: Tensor) -> tuple[Tensor, Tensor]:
    """The next token of each row, and its log-probability at that temperature (at 1 for greedy rows)."""
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
