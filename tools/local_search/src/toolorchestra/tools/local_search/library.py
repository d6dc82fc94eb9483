"""The searchable library: finds out what to index, keeps the index on disk, and rebuilds it when a document changes."""

import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final

from toolorchestra.tools.local_search import folders
from toolorchestra.tools.local_search.dense import DenseIndex, Embedder, Near
from toolorchestra.tools.local_search.documents import Passage
from toolorchestra.tools.local_search.lexical import Hit, LexicalIndex
from toolorchestra.tools.local_search.words import terms

_FORMAT: Final = "1"  # changes whenever passages or terms are made differently
_RANK_OFFSET: Final = 60  # of reciprocal rank fusion, as in the paper that proposed it
_CANDIDATES: Final = 50


@dataclass(frozen=True, slots=True)
class Found:
    """One result: BM25 score (or fused score with dense search) and confidence from 0 to 1."""

    passage: Passage
    score: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Index:
    """What was built from one state of the folders."""

    stamp: tuple[folders.File, ...]
    lexical: LexicalIndex
    dense: DenseIndex | None
    from_cache: bool

    def search(self, query: str, limit: int) -> list[Found]:
        """Lexical, or lexical and dense fused by reciprocal rank."""
        if self.dense is None:
            hits = self.lexical.search(query, limit)
            return [Found(self.lexical.passages[hit.number], hit.score, hit.confidence) for hit in hits]
        hits = self.lexical.search(query, _CANDIDATES)
        return self._fuse(query, hits, self.dense.search(query, _CANDIDATES))[:limit]

    def _fuse(self, query: str, hits: list[Hit], near: list[Near]) -> list[Found]:
        wanted = sorted(set(terms(query)))
        scores: dict[int, float] = {}
        for ranking in ([hit.number for hit in hits], [item.number for item in near]):
            for rank, number in enumerate(ranking, start=1):
                scores[number] = scores.get(number, 0.0) + 1 / (_RANK_OFFSET + rank)
        meant = {item.number: item.confidence for item in near}
        ordered = sorted(scores, key=lambda number: (-scores[number], number))
        return [
            Found(
                self.lexical.passages[number],
                scores[number],
                max(self.lexical.confidence(wanted, number), meant.get(number, 0.0)),
            )
            for number in ordered
        ]


class Library:
    """Thread-safe; every method may read and compute, so none belongs on an event loop."""

    def __init__(
        self,
        names: tuple[str, ...],
        *,
        cache: Path | None,
        refresh_s: float,
        embedding: str | None = None,
        load_embedder: Callable[[str], Embedder],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._names = names
        self._cache = cache
        self._refresh_s = refresh_s
        self._embedding = embedding
        self._load_embedder = load_embedder
        self._clock = clock
        self._lock = Lock()
        self._index: Index | None = None
        self._embedder: Embedder | None = None
        self._looked_at = 0.0

    def index(self) -> Index:
        """The index of the folders as they are, looked at again after ``refresh_s`` seconds.

        Raises UnavailableError if a folder or the embedding model is missing.
        """
        with self._lock:
            now = self._clock()
            if self._index is None or now - self._looked_at >= self._refresh_s:
                self._index = self._current(self._index)
                self._looked_at = now
            return self._index

    def _current(self, before: Index | None) -> Index:
        found = tuple(folders.find(self._names))
        if before is not None and before.stamp == found:
            return before
        embedder = self._get_embedder()
        documents = folders.read(list(found))
        key = folders.content_hash(documents, f"{_FORMAT}/{self._embedding or ''}")
        loaded = self._load(key, embedder)
        if loaded is not None:
            return Index(found, *loaded, from_cache=True)
        lexical = LexicalIndex.build(folders.cut(documents))
        dense = None if embedder is None or not lexical.passages else DenseIndex.build(embedder, lexical.passages)
        self._save(key, lexical, dense)
        return Index(found, lexical, dense, from_cache=False)

    def _get_embedder(self) -> Embedder | None:
        if self._embedder is None and self._embedding is not None:
            self._embedder = self._load_embedder(self._embedding)
        return self._embedder

    def _load(self, key: str, embedder: Embedder | None) -> tuple[LexicalIndex, DenseIndex | None] | None:
        if self._cache is None or not (self._cache / key).is_dir():
            return None
        try:
            lexical = LexicalIndex.load(self._cache / key)
            wants_dense = embedder is not None and bool(lexical.passages)
            dense = DenseIndex.load(embedder, self._cache / key) if embedder is not None and wants_dense else None
        except (OSError, ValueError, KeyError, TypeError, RuntimeError):
            return None  # a damaged copy is as good as none: it is built again
        return lexical, dense

    def _save(self, key: str, lexical: LexicalIndex, dense: DenseIndex | None) -> None:
        """Put a whole index in place at once; where the disk does not allow it, the index lives in memory only."""
        if self._cache is None:
            return
        with suppress(OSError):
            self._cache.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=self._cache))
            try:
                lexical.save(draft)
                if dense is not None:
                    dense.save(draft)
                shutil.rmtree(self._cache / key, ignore_errors=True)
                draft.rename(self._cache / key)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
