"""Reads documents (.md, .txt, .rst, .html) and cuts them into passages with a title and a source."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from itertools import pairwise
from typing import Final

from typing_extensions import override

SUFFIXES: Final = frozenset({".md", ".markdown", ".txt", ".rst", ".html", ".htm"})
PASSAGE_CHARACTERS: Final = 900
_MARKDOWN_HEADING: Final = re.compile(r"^(#{1,6})\s+(.+?)\s*#*$")
_FENCE: Final = re.compile(r"^\s*(```|~~~)")
_UNDERLINE: Final = re.compile(r"^([=\-~^\"'*+#.:_`])\1{2,}\s*$")
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+")
_BLANK: Final = re.compile(r"\n\s*\n")
_MARKDOWN_LINK: Final = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_MARKDOWN_EMPHASIS: Final = re.compile(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1")


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document: ``title`` is the document's with that of the section, ``source`` where to find it."""

    title: str
    source: str
    text: str


@dataclass(frozen=True, slots=True)
class _Section:
    heading: str
    text: str


def passages(text: str, *, source: str) -> list[Passage]:
    """The passages of one document; ``source`` is its path and tells its kind by its suffix."""
    name, _, suffix = source.rpartition("/")[2].rpartition(".")
    sections = list(_sections(text, f".{suffix.lower()}"))
    document = next((section.heading for section in sections if section.heading), name.replace("-", " ").replace("_", " "))
    return [
        Passage(_title(document, section.heading), source, piece) for section in sections for piece in _pieces(section.text)
    ]


def _title(document: str, heading: str) -> str:
    return document if heading in ("", document) else f"{document}: {heading}"


def _sections(text: str, suffix: str) -> Iterator[_Section]:
    if suffix in (".html", ".htm"):
        return _html_sections(text)
    if suffix == ".rst":
        return _underlined_sections(text)
    return _markdown_sections(text) if suffix in (".md", ".markdown") else iter([_Section("", text)])


def _markdown_sections(text: str) -> Iterator[_Section]:
    heading, lines, fenced = "", list[str](), False
    for line in text.splitlines():
        fenced ^= bool(_FENCE.match(line))
        match = None if fenced else _MARKDOWN_HEADING.match(line)
        if match is None:
            lines.append(line)
            continue
        yield _Section(heading, _unmarked("\n".join(lines)))
        heading, lines = _unmarked(match[2]), []
    yield _Section(heading, _unmarked("\n".join(lines)))


def _unmarked(text: str) -> str:
    return _MARKDOWN_EMPHASIS.sub(r"\2", _MARKDOWN_LINK.sub(r"\1", text)).replace("`", "")


def _underlined_sections(text: str) -> Iterator[_Section]:
    heading, lines = "", list[str]()
    all_lines = [*text.splitlines(), ""]
    for line, below in pairwise(all_lines):
        if _UNDERLINE.match(line):
            continue
        if line.strip() and _UNDERLINE.match(below) and len(below.rstrip()) >= len(line.strip()):
            yield _Section(heading, "\n".join(lines))
            heading, lines = line.strip(), []
        else:
            lines.append(line)
    yield _Section(heading, "\n".join(lines))


def _html_sections(text: str) -> Iterator[_Section]:
    reader = _HtmlReader()
    reader.feed(text)
    reader.close()
    return iter([*reader.sections, _Section(reader.heading, "".join(reader.text))])


class _HtmlReader(HTMLParser):
    """Collects visible text, split at headings."""

    _HEADINGS: Final = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
    _HIDDEN: Final = frozenset({"script", "style", "template", "noscript", "nav", "title", "svg"})
    _BLOCKS: Final = frozenset({"p", "div", "li", "ul", "ol", "table", "tr", "section", "article", "pre", "blockquote", "br"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.sections: list[_Section] = []
        self.heading = ""
        self.text: list[str] = []
        self._hidden = 0
        self._in_heading = False

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self._HIDDEN:
            self._hidden += 1
        elif tag in self._HEADINGS:
            self.sections.append(_Section(self.heading, "".join(self.text)))
            self.heading, self.text, self._in_heading = "", [], True
        elif tag in self._BLOCKS:
            self.text.append("\n\n")

    @override
    def handle_endtag(self, tag: str) -> None:
        if tag in self._HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        elif tag in self._HEADINGS:
            self._in_heading = False
            self.heading = " ".join(self.heading.split())

    @override
    def handle_data(self, data: str) -> None:
        if self._hidden:
            return
        if self._in_heading:
            self.heading += data
        else:
            self.text.append(data)


def _pieces(text: str) -> Iterator[str]:
    """Paragraphs, joined while they are short and cut between sentences where they are long."""
    piece = ""
    for paragraph in _BLANK.split(text):
        for part in _bounded(" ".join(paragraph.split())):
            if piece and len(piece) + len(part) + 1 > PASSAGE_CHARACTERS:
                yield piece
                piece = ""
            piece = f"{piece} {part}".strip()
    if piece:
        yield piece


def _bounded(paragraph: str) -> Iterator[str]:
    if len(paragraph) <= PASSAGE_CHARACTERS:
        yield paragraph
        return
    for sentence in _SENTENCE_END.split(paragraph):
        for start in range(0, len(sentence), PASSAGE_CHARACTERS):
            yield sentence[start : start + PASSAGE_CHARACTERS]
