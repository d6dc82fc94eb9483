"""The encoder in numpy, on a small model made here: file format, tokenizer, and the arithmetic against a plain rewriting of it."""

import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest

from toolorchestra.tools.local_search.minilm import MAX_TOKENS, MiniLm, WordPieces, is_model

VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "the",
    "cat",
    "sat",
    "un",
    "##believ",
    "##able",
    "##s",
    ".",
    "'",
    "日",
    "cafe",
]
WIDTH, INNER, HEADS, LAYERS = 8, 16, 2, 2


def weights() -> dict[str, np.ndarray]:
    random = np.random.default_rng(7)
    shapes = {
        "embeddings.word_embeddings.weight": (len(VOCABULARY), WIDTH),
        "embeddings.position_embeddings.weight": (512, WIDTH),
        "embeddings.token_type_embeddings.weight": (2, WIDTH),
        "embeddings.LayerNorm.weight": (WIDTH,),
        "embeddings.LayerNorm.bias": (WIDTH,),
    }
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            shapes |= {f"{name}.{part}.weight": (WIDTH, WIDTH), f"{name}.{part}.bias": (WIDTH,)}
        shapes |= {f"{name}.intermediate.dense.weight": (INNER, WIDTH), f"{name}.intermediate.dense.bias": (INNER,)}
        shapes |= {f"{name}.output.dense.weight": (WIDTH, INNER), f"{name}.output.dense.bias": (WIDTH,)}
        for part in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes |= {f"{name}.{part}.weight": (WIDTH,), f"{name}.{part}.bias": (WIDTH,)}
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder as sentence-transformers would write it."""
    tensors = weights() | {"embeddings.position_ids": np.arange(512, dtype=np.int64)}
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, tensor in tensors.items():
        raw = tensor.tobytes()
        kind = "F32" if tensor.dtype == np.float32 else "I64"
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    (tmp_path / "config.json").write_text(json.dumps({"num_attention_heads": HEADS, "layer_norm_eps": 1e-12}))
    (tmp_path / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    return tmp_path


def plainly(ids: list[int], w: dict[str, np.ndarray]) -> np.ndarray:
    """One text without batches, masks or tricks, in double precision with the true error function."""

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12) * w[f"{name}.weight"] + w[
            f"{name}.bias"
        ]

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    w = {name: tensor.astype(np.float64) for name, tensor in w.items()}
    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        query, key, value = (linear(x, f"{name}.attention.self.{part}") for part in ("query", "key", "value"))
        heads = []
        for head in range(HEADS):
            part = slice(head * WIDTH // HEADS, (head + 1) * WIDTH // HEADS)
            scores = np.exp(query[:, part] @ key[:, part].T / math.sqrt(WIDTH // HEADS))
            heads.append(scores / scores.sum(-1, keepdims=True) @ value[:, part])
        x = norm(
            x + linear(np.concatenate(heads, axis=1), f"{name}.attention.output.dense"), f"{name}.attention.output.LayerNorm"
        )
        inner = linear(x, f"{name}.intermediate.dense")
        inner = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        x = norm(x + linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("The cat sat.", ["the", "cat", "sat", "."]),
        ("unbelievable cats", ["un", "##believ", "##able", "cat", "##s"]),
        ("Café's", ["cafe", "'", "[UNK]"]),
        ("the日cat", ["the", "日", "cat"]),
        ("xyzzy the", ["[UNK]", "the"]),
        ("", []),
    ],
)
def test_words_are_split_into_the_longest_known_pieces(text: str, pieces: list[str]) -> None:
    encoded = [VOCABULARY[number] for number in WordPieces(VOCABULARY).encode(text)]
    assert encoded == ["[CLS]", *pieces, "[SEP]"]


def test_long_texts_are_cut() -> None:
    assert len(WordPieces(VOCABULARY).encode("cat " * 1_000)) == MAX_TOKENS


@pytest.mark.parametrize("text", ["the cat sat.", "unbelievable", "", "cat " * 50])
def test_the_numbers_agree_with_a_plain_rewriting(folder: Path, text: str) -> None:
    model = MiniLm.load(folder)
    expected = plainly(WordPieces(VOCABULARY).encode(text), weights())
    assert np.allclose(model.embed([text])[0], expected, atol=1e-5)


def test_company_in_a_batch_changes_nothing(folder: Path) -> None:
    model = MiniLm.load(folder)
    texts = ["cat", "the cat sat. " * 20, "unbelievable", "sat sat", ""] * 8
    together = model.embed(texts)
    alone = np.concatenate([model.embed([text]) for text in texts])
    assert np.allclose(together, alone, atol=1e-5)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)


def test_a_folder_is_a_model_only_if_it_is_whole(folder: Path) -> None:
    assert is_model(folder)
    (folder / "vocab.txt").unlink()
    assert not is_model(folder)
