"""From text to index terms: lower case, no accents, no filler words, light English stemming."""

import re
import unicodedata
from functools import lru_cache
from typing import Final

from bm25s.stopwords import STOPWORDS_EN_PLUS

_WORD: Final = re.compile(r"[^\W_]+(?:\.[0-9]+)?")
_VOWELS: Final = frozenset("aeiouy")
_SHORTEST_STEM: Final = 3
_ALSO_FILLERS: Final = ("also", "could", "explain", "find", "get", "give", "got", "like", "many", "may", "might", "much")
_OF_QUESTIONS: Final = ("must", "name", "please", "shall", "tell", "us", "would", "ll", "re", "ve")
_FILLERS: Final = frozenset((*STOPWORDS_EN_PLUS, *_ALSO_FILLERS, *_OF_QUESTIONS))


def terms(text: str) -> list[str]:
    """The index terms of a text, in order, with repeats: "Who invented the telephones?" → ["invent", "telephon"]."""
    plain = unicodedata.normalize("NFKD", text.lower())
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    return [stem(word) for word in _WORD.findall(plain) if word not in _FILLERS]


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """Plural, past and progressive forms share a stem; numbers and short words stay as they are."""
    if len(word) <= _SHORTEST_STEM or not word.isalpha():
        return word
    return _without_e(_without_ending(_singular(word)))


def _singular(word: str) -> str:
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes", "zes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _without_ending(word: str) -> str:
    for ending in ("ing", "ed"):
        rest = word.removesuffix(ending)
        if rest != word and len(rest) >= _SHORTEST_STEM and _VOWELS.intersection(rest):
            doubled = rest[-1] == rest[-2] and rest[-1] not in "lsz"
            return rest[:-1] if doubled else rest
    return word


def _without_e(word: str) -> str:
    return word[:-1] if word.endswith("e") and len(word) > _SHORTEST_STEM + 1 else word
