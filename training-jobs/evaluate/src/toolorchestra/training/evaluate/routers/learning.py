"""Text-only routers: they read the request and nothing else, as tf-idf vectors or as sentence embeddings.

Untrained, they ask the expert whose description is nearest to the request. Trained, a logistic regression per expert says how
likely it is right, and they ask the one of the highest expected utility; for experts that they were not trained on they go back
to the descriptions. This is the simplest kind of learned
router, after RouteLLM (arXiv 2406.18665) and the kNN and linear routers of RouterBench (arXiv 2403.12031).
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import entry_points
from multiprocessing import get_context
from typing import Any, Final, Protocol, TypeAlias
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from toolorchestra.core.errors import NotFoundError
from toolorchestra.training.evaluate.beside import deaf_to_ctrl_c, end_with_parent
from toolorchestra.training.evaluate.routers.choosing import by_price
from toolorchestra.training.evaluate.routers.situation import Situation

Floats: TypeAlias = NDArray[np.float64]
ENTRY_POINT_GROUP: Final = "toolorchestra.embedders"
BUCKETS: Final = 2_048
STEPS: Final = 200
RATE: Final = 2.0
COST_WEIGHT: Final = 0.5  # beside an accuracy of 1, as in the reward's reference form
RIDGE: Final = 1e-3
MANY: Final = 64  # texts that are worth starting processes for
_THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_WORD: Final = re.compile(r"[a-z]{3,}")


class Embedder(Protocol):
    """Turns texts into rows of equal length, each of length one. Found by entry point in ``toolorchestra.embedders``."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Shape (texts, dimensions)."""
        ...


class EmbedderFactory(Protocol):
    """The entry point."""

    def __call__(self, config: Mapping[str, Any]) -> Embedder:
        """Raises NotFoundError that says what to install."""
        ...


class MissingEmbedderError(NotFoundError):
    """No embedder is installed, so the embedding router cannot work."""

    code = "missing_embedder"


def find_embedder() -> Embedder:
    """The installed embedder, the first by name. Raises MissingEmbedderError, or the factory's NotFoundError."""
    found = sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda one: one.name)
    if not found:
        raise MissingEmbedderError(
            "the policy `embedding` needs sentence embeddings, and no embedder is installed",
            param="policies",
            hint="install toolorchestra-tool-local-search with a MiniLM model, or leave `embedding` out of the plan",
        )
    factory: EmbedderFactory = found[0].load()
    return factory({})


class Vectors(Protocol):
    """Texts as rows, prepared once for all texts of an evaluation."""

    def rows(self, texts: Sequence[str]) -> Floats:
        """Shape (texts, dimensions), each row of length one or zero."""
        ...


@dataclass(frozen=True)
class TfIdf:
    """Hashed words, weighted by how rare they are in ``corpus`` (Salton and Buckley 1988), with sublinear counts."""

    corpus: tuple[str, ...]

    def rows(self, texts: Sequence[str]) -> Floats:
        counts = np.stack([_counts(text) for text in texts])
        return _unit(np.log1p(counts) * self._rarity)

    @cached_property
    def _rarity(self) -> Floats:
        present = np.zeros(BUCKETS)
        for text in self.corpus:
            present += _counts(text) > 0
        rarity: Floats = np.log((1 + len(self.corpus)) / (1 + present)) + 1
        return rarity


def _counts(text: str) -> Floats:
    places = [crc32(word.encode()) % BUCKETS for word in _WORD.findall(text.lower())]
    counts: Floats = np.bincount(places, minlength=BUCKETS).astype(np.float64) if places else np.zeros(BUCKETS)
    return counts


@dataclass(frozen=True)
class Embeddings:
    """Rows of an embedder, each text embedded once."""

    embed: Callable[[Sequence[str]], NDArray[np.float32]]
    known: dict[str, Floats] = field(default_factory=dict)

    def rows(self, texts: Sequence[str]) -> Floats:
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        if new:
            self.known.update(zip(new, self.embed(new).astype(np.float64), strict=True))
        return np.stack([self.known[text] for text in texts])


def embed_beside(texts: Sequence[str], width: int) -> NDArray[np.float32]:
    """Embed with the installed embedder, in so many processes where that pays. Raises MissingEmbedderError."""
    embedder = find_embedder()
    if width < 2 or len(texts) < MANY:  # noqa: PLR2004 - one process is this one
        return embedder.embed(texts)
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))  # so that each process gets long and short ones
    parts = [order[start::width] for start in range(width)]
    context = get_context("spawn")
    with _one_thread_each(), ProcessPoolExecutor(width, mp_context=context, initializer=end_with_parent) as pool:
        with deaf_to_ctrl_c():
            embedded = pool.map(_embed, [[texts[place] for place in part] for part in parts])
        found = list(embedded)
    rows: NDArray[np.float32] = np.zeros((len(texts), found[0].shape[1]), dtype=np.float32)
    for part, some in zip(parts, found, strict=True):
        rows[part] = some
    return rows


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes that start in the block calculate with one thread each; with one per core they would wait for each other."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _embed(texts: Sequence[str]) -> NDArray[np.float32]:
    return find_embedder().embed(texts)


@dataclass(frozen=True, slots=True)
class Classifier:
    """One logistic regression per expert: how likely it is right on a request. ``weights``: (dimensions + 1, experts)."""

    experts: tuple[str, ...]
    weights: Floats

    def chances(self, rows: Floats) -> Floats:
        """Shape (texts, experts)."""
        return _sigmoid(_with_bias(rows) @ self.weights)


def fit(rows: Floats, experts: Sequence[str], right: Floats) -> Classifier:
    """Fit to who was right: ``right`` is 0 or 1, shape (texts, experts).

    By full gradient steps with Nesterov's momentum and a small ridge; convex, so there is nothing to seed.
    """
    inputs = _with_bias(rows)
    weights = np.zeros((inputs.shape[1], len(experts)))
    ahead = weights.copy()
    for number in range(STEPS):
        slope = inputs.T @ (_sigmoid(inputs @ ahead) - right) / len(rows) + RIDGE * ahead
        moved = ahead - RATE * slope  # rows with their bias have a length below √2, so the slope changes by at most ½
        ahead = moved + number / (number + 3) * (moved - weights)
        weights = moved
    return Classifier(tuple(experts), weights)


def _sigmoid(scores: Floats) -> Floats:
    chances: Floats = 1 / (1 + np.exp(-np.clip(scores, -30, 30)))
    return chances


def _with_bias(rows: Floats) -> Floats:
    return np.hstack([rows, np.ones((len(rows), 1))])


def _unit(rows: Floats) -> Floats:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Floats = rows / np.where(lengths > 0, lengths, 1.0)
    return unit


@dataclass(frozen=True)
class TextRouter:
    """Chooses once per episode, by the request alone."""

    vectors: Vectors
    classifier: Classifier | None = None
    chosen: dict[tuple[str, tuple[str, ...]], str] = field(default_factory=dict)

    def choose(self, situation: Situation) -> str | None:
        if not situation.experts:
            return None
        key = situation.opening, tuple(card.name for card in situation.experts)
        if key not in self.chosen:
            self.chosen[key] = self._choose(situation)
        return self.chosen[key]

    def goes_on(self, situation: Situation) -> bool:  # noqa: ARG002 - it has chosen, by the request alone
        return False

    def _choose(self, situation: Situation) -> str:
        cards = by_price(situation)
        names = [card.name for card in cards]
        if self.classifier is not None and set(self.classifier.experts) == set(names):
            return self._best(self.classifier, situation)
        opening, *descriptions = self.vectors.rows([situation.opening, *(card.description for card in cards)])
        near = [float(opening @ one) for one in descriptions]
        return names[max(range(len(names)), key=lambda place: (near[place], -place))]

    def _best(self, classifier: Classifier, situation: Situation) -> str:
        """The expert of the highest expected utility; C* is taken to go with the price of a token."""
        chances = classifier.chances(self.vectors.rows([situation.opening]))[0]
        dearest = max(1, *(card.per_token for card in situation.experts))
        spared = [1 - situation.expert(name).per_token / dearest for name in classifier.experts]
        worth = chances * (1 + COST_WEIGHT * np.array(spared))
        return classifier.experts[int(worth.argmax())]
