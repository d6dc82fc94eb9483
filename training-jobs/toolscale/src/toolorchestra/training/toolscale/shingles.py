"""Texts as sets of word n-grams: how alike they are, which is the nearest, what one collection has of another.

Sets are rows of a 0/1 matrix in compressed form, held by its columns, so that all shared n-grams of one text with thousands of
others are counted by one pass over the lists of those that hold them; exact, not estimated by hashes.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Gram: TypeAlias = tuple[str, ...]
_WORD: Final = re.compile(r"[\w'@.-]*\w")


def words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation; ids, dates and addresses are one word each."""
    return _WORD.findall(text.lower())


def grams(tokens: Sequence[str], length: int) -> list[Gram]:
    """All runs of ``length`` words, in order, repeats included; a shorter text is one run."""
    if len(tokens) <= length:
        return [tuple(tokens)] if tokens else []
    return list(zip(*(tokens[start:] for start in range(length)), strict=False))


@dataclass(frozen=True, slots=True)
class Nearest:
    """For each text of one collection the most alike of another: Jaccard similarity from 0 to 1, and its place."""

    similarity: NDArray[np.float64]
    place: NDArray[np.int64]


class Shelf:
    """A collection of texts to compare with, each as the set of its n-grams."""

    def __init__(self, texts: Iterable[Iterable[Gram]]) -> None:
        lists: dict[Gram, list[int]] = {}
        sizes: list[int] = []
        for place, text in enumerate(texts):
            held = set(text)
            sizes.append(len(held))
            for gram in held:
                lists.setdefault(gram, []).append(place)
        self._holders = {gram: np.array(places, dtype=np.int32) for gram, places in lists.items()}
        self._sizes = np.array(sizes, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._sizes)

    def similarities(self, text: Iterable[Gram]) -> NDArray[np.float64]:
        """Jaccard similarity of a text to each of the shelf."""
        wanted = set(text)
        holders = [self._holders[gram] for gram in wanted if gram in self._holders]
        shared = np.bincount(np.concatenate(holders), minlength=len(self)) if holders else np.zeros(len(self), dtype=np.int64)
        union = np.maximum(1, self._sizes + len(wanted) - shared)
        similar: NDArray[np.float64] = shared / union
        return similar

    def nearest(self, texts: Iterable[Iterable[Gram]], *, own: bool = False) -> Nearest:
        """The most alike of the shelf for each text. ``own``: they are the shelf's, in order, and none counts for itself."""
        similarity, places = [], []
        for number, text in enumerate(texts):
            similar = self.similarities(text)
            if own:
                similar[number] = -1.0
            place = int(similar.argmax()) if len(similar) else -1
            similarity.append(max(0.0, float(similar[place])) if len(similar) else 0.0)
            places.append(place)
        return Nearest(np.array(similarity, dtype=np.float64), np.array(places, dtype=np.int64))
