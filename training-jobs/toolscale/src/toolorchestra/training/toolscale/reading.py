"""A router that reads nothing but the request: hashed tf-idf, and a logistic regression of whether each expert is right.

It chooses the expert whose chance times worth is the highest, not the one that is most often the best: so a cheap expert that
is right every other time is not preferred to a sure one.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Self, TypeAlias
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float32]
BUCKETS: Final = 4_096
STEPS: Final = 200
RATE: Final = 2.0
RIDGE: Final = 5e-4
MOMENTUM, TINY = 0.9, 1e-9
LEAST_SHARE: Final = 0.01  # of tasks that an expert is right on, and wrong on, to begin with
_WORD: Final = re.compile(r"[a-z]{2,}|\d+|\n")


@dataclass(frozen=True, slots=True)
class TextRouter:
    """``weights``: (buckets + 1, experts), the last row a constant. ``worth``: (experts,), that of each where it is right."""

    weights: Floats
    worth: Floats

    @classmethod
    def fitted(cls, text: Floats, values: Floats) -> Self:
        """Fit to rows of (tasks, buckets) and what each expert is worth on each task, (tasks, experts), 0 where it is wrong.

        Weights are sums of rows, so what is fitted is how much of each row: tasks are fewer than buckets.
        """
        right = (values > 0).astype(np.float32)
        share = right.mean(axis=0).clip(LEAST_SHARE, 1 - LEAST_SHARE)
        constant, near = np.log(share / (1 - share)), text @ text.T
        pull, constant_pull, parts = np.zeros_like(right), np.zeros_like(constant), np.zeros_like(right)
        for _ in range(STEPS):
            missed = (right - _sigmoid(near @ parts + constant)) / len(text)
            pull = MOMENTUM * pull + missed - RIDGE * parts
            constant_pull = MOMENTUM * constant_pull + missed.sum(axis=0)
            parts, constant = parts + RATE * pull, constant + RATE * constant_pull
        return cls(np.vstack([text.T @ parts, constant]), values.sum(axis=0) / right.sum(axis=0).clip(1))

    def choose(self, text: Floats) -> NDArray[np.int64]:
        """The expert of each row of (tasks, buckets)."""
        chosen: NDArray[np.int64] = (_sigmoid(_with_constant(text) @ self.weights) * self.worth).argmax(axis=1)
        return chosen


def hashed(texts: Sequence[str]) -> Floats:
    """Words and pairs of words in buckets, weighted by how rare they are (Salton and Buckley 1988); rows of length one.

    Numbers are all one word, and so are ends of lines, so that a table looks like a table.
    """
    counts = np.stack([_counts(text) for text in texts])
    rarity = np.log((1 + len(texts)) / (1 + (counts > 0).sum(axis=0))).astype(np.float32) + 1
    weighed = np.log1p(counts) * rarity
    rows: Floats = weighed / np.maximum(np.linalg.norm(weighed, axis=1, keepdims=True), TINY)
    return rows


def _counts(text: str) -> Floats:
    words = ["#" if word[0].isdigit() else word for word in _WORD.findall(text.lower())]
    pairs = (f"{one} {two}" for one, two in pairwise(words))
    places = [crc32(word.encode()) % BUCKETS for word in (*words, *pairs)]
    return np.bincount(np.array(places, dtype=np.int64), minlength=BUCKETS).astype(np.float32)


def _with_constant(text: Floats) -> Floats:
    return np.hstack([text, np.ones((len(text), 1), dtype=np.float32)])


def _sigmoid(logits: Floats) -> Floats:
    shares: Floats = (1 / (1 + np.exp(-logits))).astype(np.float32)
    return shares
