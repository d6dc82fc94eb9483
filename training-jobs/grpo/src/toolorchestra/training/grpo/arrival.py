"""Whether a server has the trainer's weights: log-probabilities of the same tokens, asked of both.

The tokens are those of a fixed prompt, most of which surprise any model, so that they move with every update, and a few that
the server samples after it, at the run's temperature.
"""

from typing import Final

import torch
from peft import PeftModel
from torch import Tensor

from toolorchestra.core.policyformat import opening
from toolorchestra.training.grpo.policies import Turn
from toolorchestra.training.grpo.tokens import Codec
from toolorchestra.training.grpo.vllm_server import VllmServer

PROBE: Final = opening("Answer.", ["amber(question: string) - Knows. [$0.01 a call]"], "What is the colour of 11 + 22?").text
SAMPLED: Final = 16


def largest_gap(model: PeftModel, codec: Codec, server: VllmServer, name: str, *, temperature: float) -> float:
    """By how much the log-probability of any token differs at most, in nats. Raises what the server raises."""
    prompt = codec.encode(PROBE)
    found = server.complete(name, Turn(prompt, SAMPLED, temperature))
    logits = _logits(model, [*prompt, *found.ids])
    shown, sampled = logits[: len(prompt) - 1], logits[len(prompt) - 1 :]
    return max(_gap(shown, prompt[1:], found.prompt_logprobs), _gap(sampled / temperature, found.ids, found.logprobs))


def _logits(model: PeftModel, ids: list[int]) -> Tensor:
    """Of each place but the last."""
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            logits: Tensor = model(input_ids=torch.tensor([ids], device=model.device)).logits[0, :-1]
            return logits.float().cpu()
    finally:
        model.train(training)


def _gap(logits: Tensor, ids: list[int], claimed: list[float]) -> float:
    own = torch.log_softmax(logits, dim=-1).gather(1, torch.tensor(ids)[:, None])[:, 0]
    return float((own - torch.tensor(claimed)).abs().max())
