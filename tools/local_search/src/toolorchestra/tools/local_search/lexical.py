"""BM25 over passages, with a confidence that tells a match from noise."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import bm25s
import numpy as np

from toolorchestra.tools.local_search.documents import Passage
from toolorchestra.tools.local_search.words import terms

_PASSAGES_FILE: Final = "passages.json"
_TITLE_WEIGHT: Final = 2  # a word of the title counts as if it stood in the text twice


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage's number, its BM25 score, and the share of the query's weight that it covers (0 to 1)."""

    number: int
    score: float
    confidence: float


class LexicalIndex:
    """Scores by BM25; weighs a word by its rarity, a word found nowhere as the rarest of all."""

    def __init__(self, passages: Sequence[Passage], scorer: Any) -> None:
        self.passages = tuple(passages)
        self._scorer = scorer
        self._words = [frozenset(_indexed(passage)) for passage in self.passages]

    @classmethod
    def build(cls, passages: Sequence[Passage]) -> "LexicalIndex":
        scorer = bm25s.BM25()
        if passages:
            scorer.index([_indexed(passage) for passage in passages], show_progress=False)
        return cls(passages, scorer)

    @classmethod
    def load(cls, folder: Path) -> "LexicalIndex":
        """Raises OSError, ValueError or KeyError for a folder that holds no whole index."""
        rows = json.loads((folder / _PASSAGES_FILE).read_text())
        passages = [Passage(*row) for row in rows]
        scorer = bm25s.BM25.load(str(folder), show_progress=False) if passages else bm25s.BM25()
        return cls(passages, scorer)

    def save(self, folder: Path) -> None:
        if self.passages:
            self._scorer.save(str(folder), show_progress=False)
        rows = [[passage.title, passage.source, passage.text] for passage in self.passages]
        (folder / _PASSAGES_FILE).write_text(json.dumps(rows))

    def search(self, query: str, limit: int) -> list[Hit]:
        """The best passages that share a word with the query, best first."""
        wanted = sorted(set(terms(query)))
        known = [word for word in wanted if word in self._vocabulary()]
        if not known:
            return []
        scores = self._scorer.get_scores(known)
        best = np.argsort(-scores, kind="stable")[:limit]
        return [Hit(int(n), float(scores[n]), self.confidence(wanted, int(n))) for n in best if scores[n] > 0]

    def confidence(self, wanted: Sequence[str], number: int) -> float:
        """The share of the wanted words' rarity that the passage holds."""
        total = sum(self._rarity(word) for word in wanted)
        return sum(self._rarity(word) for word in wanted if word in self._words[number]) / total if total else 0.0

    def _rarity(self, word: str) -> float:
        count = len(self.passages)
        identifier = self._vocabulary().get(word)
        containing = 0
        if identifier is not None:
            starts = self._scorer.scores["indptr"]
            containing = int(starts[identifier + 1] - starts[identifier])
        return math.log(1 + (count - containing + 0.5) / (containing + 0.5))

    def _vocabulary(self) -> dict[str, int]:
        found: dict[str, int] = self._scorer.vocab_dict if self.passages else {}
        return found


def _indexed(passage: Passage) -> list[str]:
    return terms(passage.title) * _TITLE_WEIGHT + terms(passage.text)
