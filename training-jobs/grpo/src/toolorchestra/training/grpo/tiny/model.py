"""The tiny policy: a Qwen3 of half a million parameters that every serving engine knows how to run, and its vocabulary."""

from collections.abc import Iterable
from typing import Final

import torch
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from toolorchestra.core.policies.history import INSTRUCTION
from toolorchestra.core.policyformat import RULES
from toolorchestra.training.grpo.tiny.routes import (
    ALIASES,
    COLOURS,
    COMMON,
    DESCRIPTIONS,
    EXPERTS,
    LATENCIES_MS,
    PRICES,
    RARE,
    THINGS,
)
from toolorchestra.training.grpo.tokens import train_tokenizer

CONTEXT_TOKENS: Final = 512
VOCABULARY: Final = 1_000
# What stands in every prompt, as one token each: a tiny model has no time to spell it.
FIXED: Final = (
    f"system\n{INSTRUCTION}\n\nTools:\n",
    f"\n{RULES}",
    "(question: string, context?: string) - ",
    "(expression: string) - ",
    "(order: string) - ",
    # All lines of a list come to the same number of tokens: what belongs to a name stands at fixed distances from it.
    *(f"{text} [{'about ' if family in EXPERTS else ''}" for family, text in DESCRIPTIONS.items()),
    " + ",
    ' {"question": "',
    ' {"expression": "',
    ' {"order": "',
    "\n\nPreference: ",
    "What is the",
    "Where is order ",
    " a call, ",
    *(f"${price}" for price in PRICES),
    *(f"about {latency} ms" for latency in LATENCIES_MS),
    # What a name may follow, so that a name is written by the same tokens everywhere.
    "call ",
    "ask ",
    "result 1/1 ",
    "answer_from 1/1",
    "\n[left: 3 turns, ",
    # What "cheap, please" has in common with "the cheapest that knows".
    "cheap",
    "quick",
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The vocabulary of route tasks; the same each time."""
    return train_tokenizer(_texts(), FIXED, vocabulary=VOCABULARY)


def build_model(vocabulary: int, stop: int, pad: int, *, hidden: int = 128, layers: int = 3, seed: int = 0) -> Qwen3ForCausalLM:
    """A model with random weights that follow from ``seed``."""
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=-(-vocabulary // 64) * 64,
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=hidden // 4,
        max_position_embeddings=CONTEXT_TOKENS,
        tie_word_embeddings=True,
        initializer_range=hidden**-0.5,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        bos_token_id=None,
        eos_token_id=stop,
        pad_token_id=pad,
        use_cache=True,
    )
    return Qwen3ForCausalLM(config)


def _texts() -> Iterable[str]:
    """Texts that hold every word often enough to become a token."""
    names = [
        *ALIASES,
        "user",
        "assistant",
        "question",
        "expression",
        "order",
        "Preference",
        "What",
        "Where",
        "est",
        "the",
        *(f"{number:02}" for number in range(100)),
    ]
    words = [*COLOURS, *COMMON, *RARE, *THINGS, *_WORDS]
    marks = [' {"', '": "', '"}', " + ", "?", "\n", "\n\n", ": ", " [", "]\n", ". [", ": ", ".", " "]
    for _ in range(20):
        yield "\n".join((*names, *COLOURS))
        yield "".join(f" {word}" for word in words)
        yield from marks


_WORDS: Final = (
    "is", "one", "the", "of", "order", "please", "that", "knows", "s", "turns",
)  # fmt: skip
