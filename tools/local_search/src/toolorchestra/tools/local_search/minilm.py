"""Sentence embeddings by a BERT encoder of the MiniLM family, in numpy: 22 M weights need no deep-learning framework.

The model is a folder as sentence-transformers writes it: ``config.json``, ``vocab.txt``, ``model.safetensors``.
"""

import json
import struct
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float32]

MAX_TOKENS: Final = 256
_BATCH: Final = 16
_BLOCK: Final = 16_384
_SERIES: Final = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)
_LONGEST_WORD: Final = 100
_MASKED: Final = np.float32(-1e9)
_TYPES: Final[dict[str, Any]] = {"F32": np.float32, "F16": np.float16}
_FILES: Final = ("config.json", "vocab.txt", "model.safetensors")


def is_model(folder: Path) -> bool:
    """Whether the folder holds the three files."""
    return all((folder / name).is_file() for name in _FILES)


class WordPieces:
    """BERT's uncased tokenizer."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self._ids = {piece: number for number, piece in enumerate(vocabulary)}

    def encode(self, text: str) -> list[int]:
        """Piece numbers between the start and end marks, at most ``MAX_TOKENS`` in all."""
        pieces = [piece for word in _words(text) for piece in self._split(word)]
        return [self._ids["[CLS]"], *pieces[: MAX_TOKENS - 2], self._ids["[SEP]"]]

    def _split(self, word: str) -> list[int]:
        """Longest piece first; a word that cannot be put together is unknown as a whole."""
        found: list[int] = []
        start = 0
        while start < len(word):
            end = next((end for end in range(len(word), start, -1) if self._piece(word, start, end) in self._ids), None)
            if end is None or len(word) > _LONGEST_WORD:
                return [self._ids["[UNK]"]]
            found.append(self._ids[self._piece(word, start, end)])
            start = end
        return found

    @staticmethod
    def _piece(word: str, start: int, end: int) -> str:
        return word[start:end] if start == 0 else f"##{word[start:end]}"


class MiniLm:
    """The encoder: mean of the last layer over the tokens, length one."""

    def __init__(self, tokenizer: WordPieces, weights: dict[str, Array], *, heads: int, epsilon: float) -> None:
        self._tokenizer = tokenizer
        self._weights = weights
        self._heads = heads
        self._epsilon = np.float32(epsilon)
        self._layers = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layer."))

    @classmethod
    def load(cls, folder: Path) -> "MiniLm":
        """Raises OSError, ValueError or KeyError for a folder without a whole model."""
        config = json.loads((folder / "config.json").read_text())
        tokenizer = WordPieces((folder / "vocab.txt").read_text(encoding="utf-8").splitlines())
        weights = _read_safetensors(folder / "model.safetensors")
        return cls(tokenizer, weights, heads=config["num_attention_heads"], epsilon=config.get("layer_norm_eps", 1e-12))

    def embed(self, texts: Sequence[str]) -> Array:
        """One row per text."""
        encoded = [self._tokenizer.encode(text) for text in texts]
        order = sorted(range(len(texts)), key=lambda number: len(encoded[number]))
        width = self._weights["embeddings.word_embeddings.weight"].shape[1]
        rows: Array = np.zeros((len(texts), width), dtype=np.float32)
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            rows[batch] = self._embed_batch([encoded[number] for number in batch])
        return rows

    def _embed_batch(self, encoded: Sequence[Sequence[int]]) -> Array:
        longest = max(map(len, encoded))
        ids = np.array([[*row, *[0] * (longest - len(row))] for row in encoded])
        present = np.array([[1.0] * len(row) + [0.0] * (longest - len(row)) for row in encoded], dtype=np.float32)
        states = self._normed(self._embedded(ids), "embeddings.LayerNorm")
        hidden = (1 - present[:, None, None, :]) * _MASKED
        for number in range(self._layers):
            states = self._layer(states, hidden, f"encoder.layer.{number}")
        total: Array = (states * present[..., None]).sum(axis=1)
        normed: Array = total / np.linalg.norm(total, axis=1, keepdims=True)
        return normed

    def _embedded(self, ids: npt.NDArray[np.int_]) -> Array:
        weights = self._weights
        words: Array = weights["embeddings.word_embeddings.weight"][ids]
        positions = weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
        sums: Array = words + positions + weights["embeddings.token_type_embeddings.weight"][0]
        return sums

    def _layer(self, states: Array, hidden: Array, name: str) -> Array:
        attended = self._linear(self._attention(states, hidden, name), f"{name}.attention.output.dense")
        states = self._normed(states + attended, f"{name}.attention.output.LayerNorm")
        inner = _gelu(self._linear(states, f"{name}.intermediate.dense"))
        return self._normed(states + self._linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")

    def _attention(self, states: Array, hidden: Array, name: str) -> Array:
        rows, length, width = states.shape
        shape = (rows, length, self._heads, width // self._heads)
        query, key, value = (
            self._linear(states, f"{name}.attention.self.{part}").reshape(shape).swapaxes(1, 2)
            for part in ("query", "key", "value")
        )
        mixed: Array = np.empty((rows, length, self._heads, width // self._heads), dtype=np.float32)
        query *= np.float32((width // self._heads) ** -0.5)
        for row in range(rows):  # the scores of one text stay in a core's cache, those of all would not
            scores = query[row] @ key[row].swapaxes(1, 2)
            scores += hidden[row]
            scores -= scores.max(axis=-1, keepdims=True)
            np.exp(scores, out=scores)
            scores /= scores.sum(axis=-1, keepdims=True)
            mixed[row] = (scores @ value[row]).swapaxes(0, 1)
        return mixed.reshape(rows, length, width)

    def _linear(self, states: Array, name: str) -> Array:
        result: Array = states @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]
        return result

    def _normed(self, states: Array, name: str) -> Array:
        centred = states - states.mean(axis=-1, keepdims=True)
        scale = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + self._epsilon)
        result: Array = centred / scale * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]
        return result


def _gelu(values: Array) -> Array:
    """x·Φ(x), with Abramowitz and Stegun's 7.1.26 for the error function (wrong by less than 2e-7).

    In blocks that stay in a core's cache: whole arrays would go through memory for every operation.
    """
    result = np.ascontiguousarray(values).reshape(-1).copy()
    for start in range(0, len(result), _BLOCK):
        _gelu_block(result[start : start + _BLOCK])
    return result.reshape(values.shape)


def _gelu_block(values: Array) -> None:
    size = np.abs(values)
    size *= np.float32(0.7071067811865476)
    t = size * np.float32(0.3275911)
    t += np.float32(1)
    np.reciprocal(t, out=t)
    series = t * np.float32(_SERIES[0])
    for factor in _SERIES[1:]:
        series += np.float32(factor)
        series *= t
    np.multiply(size, -size, out=size)
    series *= np.exp(size, out=size)
    np.subtract(np.float32(1), series, out=series)
    series *= np.sign(values)
    series += np.float32(1)
    values *= series
    values *= np.float32(0.5)


def _words(text: str) -> Iterator[str]:
    """Lower case, without accents; punctuation and Chinese characters stand alone."""
    plain = unicodedata.normalize("NFD", text.lower())
    spaced = "".join(
        f" {character} " if _stands_alone(character) else ("" if unicodedata.combining(character) else character)
        for character in plain
    )
    return iter(spaced.split())


def _stands_alone(character: str) -> bool:
    ascii_sign = character.isascii() and character.isprintable() and not character.isalnum() and character != " "
    return ascii_sign or unicodedata.category(character).startswith("P") or "\u4e00" <= character <= "\u9fff"


def _read_safetensors(path: Path) -> dict[str, Array]:
    """The float tensors of a file: eight bytes of length, a JSON header, then the numbers."""
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    weights = {}
    for name, entry in header.items():
        if name == "__metadata__" or entry["dtype"] not in _TYPES:
            continue
        start, end = entry["data_offsets"]
        part = data[8 + length + start : 8 + length + end]
        weights[name] = np.frombuffer(part, dtype=_TYPES[entry["dtype"]]).reshape(entry["shape"]).astype(np.float32)
    return weights
