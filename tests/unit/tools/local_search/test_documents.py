"""How documents become passages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolorchestra.tools.local_search.documents import PASSAGE_CHARACTERS, passages


def pairs(text: str, source: str) -> list[tuple[str, str]]:
    return [(passage.title, passage.text) for passage in passages(text, source=source)]


def test_markdown_is_cut_at_headings_and_titles_carry_the_documents_name() -> None:
    text = "# Water\n\nIt is **wet**.\n\n## Ice\n\nIt [floats](x.md) on `water`.\n"
    assert pairs(text, "a/water.md") == [("Water", "It is wet."), ("Water: Ice", "It floats on water.")]


def test_a_hash_inside_a_code_block_is_no_heading() -> None:
    assert pairs("# T\n\n```sh\n# comment\nrun\n```\n", "t.md") == [("T", "sh # comment run")]


def test_a_document_without_heading_is_named_after_its_file() -> None:
    assert pairs("Just text.", "notes/my-first_note.txt") == [("my first note", "Just text.")]


def test_restructured_text_is_cut_at_underlined_headings() -> None:
    text = "=====\nTitle\n=====\n\nFirst.\n\nPart\n----\n\nSecond.\n\n- a list\n"
    assert pairs(text, "x.rst") == [("Title", "First."), ("Title: Part", "Second. - a list")]


def test_html_gives_its_visible_text_only() -> None:
    text = """<html><head><title>no</title><style>p {}</style></head><body><nav>menu</nav><h1>Big &amp; bold</h1>
    <p>One <b>two</b>.</p><script>alert(1)</script><h2>Next</h2><ul><li>three</li><li>four</li></ul></body></html>"""
    assert pairs(text, "x.html") == [("Big & bold", "One two."), ("Big & bold: Next", "three four")]


def test_short_paragraphs_are_joined_and_long_ones_cut_between_sentences() -> None:
    joined = pairs("One.\n\nTwo.\n\nThree.", "x.txt")
    assert joined == [("x", "One. Two. Three.")]
    sentence = "This sentence has some forty characters. "
    cut = [text for _, text in pairs(sentence * 60, "x.txt")]
    assert len(cut) > 2
    assert all(len(text) <= PASSAGE_CHARACTERS and text.endswith("characters.") for text in cut)


@pytest.mark.parametrize("suffix", ["md", "txt", "rst", "html"])
@pytest.mark.parametrize("text", ["", "\n\n\n", "# ", "<p>", "```", "====", "\ufeff# T\n\ntext"])
def test_odd_documents_do_no_harm(suffix: str, text: str) -> None:
    assert isinstance(pairs(text, f"odd.{suffix}"), list)


@given(st.text(max_size=400), st.sampled_from(["md", "txt", "rst", "html"]))
def test_any_text_gives_bounded_passages(text: str, suffix: str) -> None:
    for passage in passages(text, source=f"any.{suffix}"):
        assert 0 < len(passage.text) <= PASSAGE_CHARACTERS
        assert passage.title


@given(st.lists(st.text(alphabet="abc de.", min_size=1, max_size=200), max_size=20))
def test_no_word_of_plain_text_is_lost(paragraphs: list[str]) -> None:
    text = "\n\n".join(paragraphs)
    assert " ".join(passage.text for passage in passages(text, source="x.txt")).split() == text.split()
