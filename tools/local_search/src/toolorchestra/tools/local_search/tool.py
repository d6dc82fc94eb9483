"""Search over a folder of documents, as a plug-in."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from toolorchestra.core.errors import InvalidArgumentsError, InvalidManifestError, UnavailableError
from toolorchestra.core.plugins import PluginContext, PluginResult, Readiness
from toolorchestra.core.resources.manifest import describe, first_field
from toolorchestra.tools.local_search.dense import load_embedder
from toolorchestra.tools.local_search.library import Found, Library

DEFAULT_LIMIT: Final = 4
MAX_LIMIT: Final = 10
MAX_QUERY: Final = 1_000
_TEXT_CHARACTERS: Final = 1_200


class LocalSearchConfig(BaseModel):
    """Settings of the plug-in, under ``plugin.config``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    folders: tuple[str, ...] = Field(
        default=("corpus",),
        min_length=1,
        max_length=16,
        description="Folders of .md, .txt, .rst and .html files; `corpus` is the shipped collection with the product's own "
        "pages, `docs` those pages alone. Default: `corpus`.",
    )
    embedding: str | None = Field(
        default=None, min_length=1, max_length=512, description="Embedding model for dense search. Default: words only."
    )
    min_confidence: float = Field(default=0.2, ge=0, le=1, description="Weaker passages are left out. Default: 0.2.")
    refresh_seconds: float = Field(default=2.0, ge=0, le=86_400, description="How often to look for changes. Default: 2.")
    cache_dir: str | None = Field(
        default=None, max_length=1_024, description="Where indexes are kept; empty: nowhere. Default: the user's cache folder."
    )

    def cache(self) -> Path | None:
        if self.cache_dir is None:
            base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
            return Path(base).expanduser() / "toolorchestra" / "local_search"
        return Path(self.cache_dir).expanduser() if self.cache_dir else None


class LocalSearch:
    """Answers with the passages that fit a query best, or with none."""

    def __init__(self, library: Library, *, min_confidence: float) -> None:
        self._library = library
        self._min_confidence = min_confidence

    async def run(self, arguments: Mapping[str, Any], context: PluginContext) -> PluginResult:
        """``{"query": …, "limit": 4}`` → a list of ``{title, source, text, score, confidence}``, best first; maybe empty."""
        del context  # a query takes milliseconds
        query, limit = _query(arguments), _limit(arguments)
        found = await asyncio.to_thread(self._search, query, limit)
        return PluginResult([_as_json(item) for item in found], {"passages": len(found)})

    async def check(self, secrets: Mapping[str, str]) -> Readiness:
        """Build or load the index; not ready if a folder is missing or empty, or the embedding model is not installed."""
        del secrets
        try:
            index = await asyncio.to_thread(self._library.index)
        except UnavailableError as error:
            return Readiness(ready=False, reason="IndexUnavailable", message=str(error))
        details = {"documents": len(index.stamp), "passages": len(index.lexical.passages), "dense": index.dense is not None}
        if not index.lexical.passages:
            message = "the folders hold no .md, .txt, .rst or .html documents; correct spec.plugin.config.folders"
            return Readiness(ready=False, reason="NoDocuments", message=message, details=details)
        return Readiness(ready=True, details=details)

    def _search(self, query: str, limit: int) -> list[Found]:
        found = self._library.index().search(query, limit)
        return [item for item in found if item.confidence >= self._min_confidence]


def create(config: Mapping[str, Any]) -> LocalSearch:
    """The entry point. Raises InvalidManifestError for settings that do not exist or are out of range."""
    try:
        settings = LocalSearchConfig.model_validate(dict(config))
    except ValidationError as error:
        field = f"spec.plugin.config.{first_field(error)}"
        raise InvalidManifestError(f"spec.plugin.config: {describe(error)}", param=field) from error
    library = Library(
        settings.folders,
        cache=settings.cache(),
        refresh_s=settings.refresh_seconds,
        embedding=settings.embedding,
        load_embedder=load_embedder,
    )
    return LocalSearch(library, min_confidence=settings.min_confidence)


def _query(arguments: Mapping[str, Any]) -> str:
    query = arguments.get("query")
    if not isinstance(query, str) or not query.strip():
        raise InvalidArgumentsError("query must be a non-empty string", param="query", hint='write "height of Mount Everest"')
    return query[:MAX_QUERY]


def _limit(arguments: Mapping[str, Any]) -> int:
    limit = arguments.get("limit", DEFAULT_LIMIT)
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_LIMIT:
        raise InvalidArgumentsError(f"limit must be a whole number from 1 to {MAX_LIMIT}", param="limit")
    return limit


def _as_json(found: Found) -> JsonValue:
    passage = found.passage
    return {
        "title": passage.title,
        "source": passage.source,
        "text": passage.text[:_TEXT_CHARACTERS],
        "score": round(found.score, 4),
        "confidence": round(found.confidence, 3),
    }
