"""Words, scores, and the confidence that tells a match from noise."""

from pathlib import Path

import pytest

from toolorchestra.tools.local_search.documents import Passage
from toolorchestra.tools.local_search.lexical import LexicalIndex
from toolorchestra.tools.local_search.words import stem, terms

PASSAGES = [
    Passage("France", "france.md", "Its capital is Paris. The Eiffel Tower stands there."),
    Passage("Germany", "germany.md", "Its capital is Berlin. The wall fell in 1989."),
    Passage("Water", "water.md", "Water boils at 100 degrees. It is wet."),
    Passage("Telephone", "telephone.md", "Alexander Graham Bell received the patent for the telephone."),
]
INDEX = LexicalIndex.build(PASSAGES)


@pytest.mark.parametrize(
    ("words", "shared"),
    [
        ("planet planets", "planet"),
        ("country countries", "country"),
        ("boil boils boiled boiling", "boil"),
        ("stop stopped stopping", "stop"),
        ("invent invented inventing", "invent"),
        ("describe described describing", "describ"),
        ("box boxes", "box"),
        ("status", "status"),
        ("glass", "glass"),
        ("ice", "ice"),
        ("red", "red"),
        ("1989", "1989"),
    ],
)
def test_forms_of_a_word_share_a_stem(words: str, shared: str) -> None:
    assert {stem(word) for word in words.split()} == {shared}


def test_fillers_case_accents_and_signs_do_not_count() -> None:
    assert terms("What is the Capital of São Tomé?") == ["capital", "sao", "tome"]
    assert terms("Who is it, and why?") == []
    assert terms("version 3.11 costs $5") == ["version", "3.11", "cost", "5"]


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("What is the capital of France?", "France"),
        ("capital of germany", "Germany"),
        ("the wall in Berlin", "Germany"),
        ("boiling water", "Water"),
        ("Who patented the telephones", "Telephone"),
    ],
)
def test_the_passage_that_answers_comes_first(query: str, title: str) -> None:
    best = INDEX.search(query, 3)[0]
    assert PASSAGES[best.number].title == title
    assert best.confidence > 0.4


def test_confidence_is_the_share_of_the_querys_weight() -> None:
    whole, half = INDEX.search("capital of France", 4)[:2]
    assert whole.confidence == pytest.approx(1.0)
    assert 0 < half.confidence < 0.5  # it has the common word only
    assert INDEX.search("capital of Atlantis", 4)[0].confidence < 0.4


@pytest.mark.parametrize("query", ["", "who is it?", "blorgz frumple", "?!", "🙂"])
def test_a_query_without_known_words_finds_nothing(query: str) -> None:
    assert INDEX.search(query, 4) == []


def test_only_passages_with_a_word_of_the_query_are_returned() -> None:
    assert [PASSAGES[hit.number].title for hit in INDEX.search("paris", 10)] == ["France"]
    assert len(INDEX.search("capital", 1)) == 1


def test_an_index_can_be_kept_and_read_again(tmp_path: Path) -> None:
    INDEX.save(tmp_path)
    again = LexicalIndex.load(tmp_path)
    assert again.passages == tuple(PASSAGES)
    for query in ("capital of France", "telephone", "water wall"):
        assert again.search(query, 4) == INDEX.search(query, 4)


def test_an_empty_index_finds_nothing_and_can_be_kept(tmp_path: Path) -> None:
    empty = LexicalIndex.build([])
    empty.save(tmp_path)
    assert LexicalIndex.load(tmp_path).search("anything", 4) == []
