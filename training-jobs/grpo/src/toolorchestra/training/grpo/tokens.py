"""Token ids of policy text. Whatever a model is, its turns are cut at the format's two marks, so parts are encoded apart."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from toolorchestra.core.policyformat import START, STOP

PAD = "<|pad|>"


class Codec(Protocol):
    """Text to ids and back. ``stop`` is the id that ends a turn, ``pad`` fills batches."""

    stop: int
    pad: int

    def encode(self, text: str) -> list[int]:
        """The ids of a text; the marks of turns are one id each, and nothing is added."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, marks included."""
        ...


class HfCodec:
    """A codec over a Hugging Face tokenizer. Raises ValueError for one that does not know the marks of turns."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        ids = [tokenizer.encode(mark, add_special_tokens=False) for mark in (START, STOP)]
        if any(len(one) != 1 for one in ids):
            raise ValueError(f"the tokenizer does not write {START} and {STOP} as one token each")
        self.stop: int = ids[1][0]
        self.pad: int = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self.stop

    def encode(self, text: str) -> list[int]:
        found: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return found

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))


def train_tokenizer(texts: Iterable[str], fixed: Sequence[str], *, vocabulary: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer for a small domain: whole words, digits two by two, each of the ``fixed`` texts one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" ?[A-Za-z]+|[0-9]{1,2}|[^A-Za-z0-9 ]+| "), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, START, STOP],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in fixed])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=STOP)
