"""Questions whose answer stands in a document: a sentence with a gap, or a year that is asked for.

The documents are those of the shipped search collection, or of any folder of ``topic/name.md`` files; they are read as data.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Final

from toolorchestra.training.toolscale.qa.drafts import SEARCH, Draft, say
from toolorchestra.worlds.errors import InvalidWorldError
from toolorchestra.worlds.questions import YEAR, Need
from toolorchestra.worlds.rows import fold
from toolorchestra.worlds.values import Kind, scan

PACKAGE: Final = "toolorchestra.tools.local_search"
TOPICS: Final = {"toolorchestra": "product"}  # folders whose topic has another name
GAP: Final = "___"
LEAST, SHORT, LONG = 10, 8, 45  # the smallest number asked for; words of a sentence
MOST_OTHERS: Final = 12
_SENTENCE: Final = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_NUMBER: Final = re.compile(r"(?<![\w.,$-])\d{1,3}(?:,\d{3})+(?![\w.,%]\d)|(?<![\w.,$-])\d+(?:\.\d+)?(?![\w%]|[.,]\d)")
_DATE: Final = re.compile(
    r"\b\d{1,2} (?:January|February|March|April|May|June|July|August|September|October|November|December) \d{4}\b"
)
_NAME: Final = re.compile(r"(?<=[a-z,;:] )(?:[A-Z][a-zéèöüáíóç'-]{3,}(?: (?:[A-Z][a-zéèöüáíóç'-]+))*)(?!\w| [IVX]+\b)")
_YEAR: Final = re.compile(
    r"^(?P<subject>[A-Z][^,;:()]{3,60}?) (?P<verb>was|were) (?P<rest>[a-z][^,.;:()]{3,60}?) in (?P<year>1\d{3}|20\d{2})[.,;]"
)
_PRONOUNS: Final = ("It ", "He ", "She ", "They ", "This ", "These ", "There ", "That ", "His ", "Her ", "Their ", "Its ")


@dataclass(frozen=True, slots=True)
class Document:
    """One document. ``name`` is ``topic/name``, ``sentences`` are those of its paragraphs."""

    name: str
    topic: str
    title: str
    sentences: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """Proper names in it, in the order in which they first stand there."""
        return list(dict.fromkeys(name for sentence in self.sentences for name in _NAME.findall(sentence)))


def read_corpus(folder: Path | None = None) -> list[Document]:
    """The documents of a folder, or the shipped ones. Raises InvalidWorldError that says what to install or name."""
    root = folder or _shipped()
    found = [_read(root, path) for path in sorted(root.glob("*/*.md"))]
    if not found:
        hint = "install toolorchestra-tool-local-search, or name a folder with topic/name.md files"
        raise InvalidWorldError(f"{root}: holds no documents to ask about", param="corpus", hint=hint)
    return found


def ask_about(document: Document, random: Random) -> list[Draft]:
    """All questions that a document gives, one per sentence and kind at most."""
    drafts: list[Draft] = []
    for sentence in document.sentences:
        drafts.extend(_years(document, sentence, random))
        if SHORT <= len(sentence.split()) <= LONG:
            drafts.extend(_gaps(document, sentence, random))
    return drafts


def _shipped() -> Path:
    try:
        return Path(str(files(PACKAGE).joinpath("corpus")))
    except ModuleNotFoundError as error:
        hint = "install toolorchestra-tool-local-search, or name a folder"
        raise InvalidWorldError("the shipped documents are not installed", param="corpus", hint=hint) from error


def _read(root: Path, path: Path) -> Document:
    topic = path.parent.name
    lines = path.read_text(encoding="utf-8").splitlines()
    title = next((line.removeprefix("# ") for line in lines if line.startswith("# ")), path.stem)
    prose = [line for line in lines if line and not line.startswith(("#", "-", "|", "```", "    "))]
    sentences = tuple(one.strip() for line in prose for one in _SENTENCE.split(line) if "`" not in one)
    return Document(path.relative_to(root).with_suffix("").as_posix(), TOPICS.get(topic, topic), title, sentences)


def _gaps(document: Document, sentence: str, random: Random) -> Iterator[Draft]:
    """The sentence with a date, a number or a name left out: one of each kind."""
    date = _DATE.search(sentence)
    if date:
        yield _gap(document, sentence, date, Kind.DATE, _iso(date[0]), random)
    numbers = [match for match in _NUMBER.finditer(sentence) if _is_asked(sentence, match)]
    if numbers:
        chosen = random.choice(numbers)
        yield _gap(document, sentence, chosen, Kind.NUMBER, _plain(chosen[0]), random)
    names = [match for match in _NAME.finditer(sentence) if fold(sentence).count(fold(match[0])) == 1]
    names = [match for match in names if fold(match[0]) not in fold(document.title)]
    if names:
        chosen = random.choice(names)
        yield _gap(document, sentence, chosen, Kind.TEXT, chosen[0], random)


def _gap(document: Document, sentence: str, match: re.Match[str], kind: Kind, value: str | float, random: Random) -> Draft:
    what = {Kind.DATE: "date", Kind.NUMBER: "number"}.get(kind, "name")
    gapped = f"{sentence[: match.start()]}{GAP}{sentence[match.end() :]}"
    number, text = say(
        random,
        "An article of the local collection says: “{gapped}” Which {what} belongs into the gap? Reply with the {what} alone.",
        "“{gapped}” [Look up|Find out] which {what} is left out here, and reply with it alone.",
        "In the article “{title}” there is this sentence: “{gapped}” What is the missing {what}? Just the {what}, please.",
        gapped=gapped, what=what, title=document.title,
    )  # fmt: skip
    others = [name for name in document.names if name not in sentence and fold(name) not in fold(str(value))]
    return _draft(
        document, f"gap_{what}.{number}", text, kind, value,
        query=f"{document.title} {gapped.replace(GAP, '')}", others=others if kind is Kind.TEXT else (),
    )  # fmt: skip


def _years(document: Document, sentence: str, random: Random) -> Iterator[Draft]:
    """``The Hubble Space Telescope was launched in 1990`` → in which year was it launched?"""
    match = _YEAR.match(sentence)
    if match is None or sentence.startswith(_PRONOUNS):
        return
    subject = match["subject"]
    subject = subject[0].lower() + subject[1:] if subject.startswith(("The ", "A ", "An ")) else subject
    number, text = say(
        random,
        "In which year {verb} {subject} {rest}? Reply with the year alone.",
        "{subject} {verb} {rest} in one year; which one? Just the year, please.",
        subject=subject, verb=match["verb"], rest=match["rest"],
    )  # fmt: skip
    text = text[0].upper() + text[1:]
    query = f"{match['subject']} {match['verb']} {match['rest']}"
    yield _draft(document, f"year.{number}", text, Kind.NUMBER, int(match["year"]), query=query)


def _draft(
    document: Document,
    template: str,
    text: str,
    kind: Kind,
    value: str | float,
    *,
    query: str,
    others: Sequence[str] = (),
) -> Draft:
    return Draft(
        template=template,
        question=text,
        kind=kind,
        value=value,
        topic=document.topic,
        need=Need.SEARCH,
        cluster=document.name,
        others=tuple(others[:MOST_OTHERS]),
        tool=SEARCH,
        argument=query[:300],
    )


def _is_asked(sentence: str, match: re.Match[str]) -> bool:
    """Whether a number is large enough, and read as one, and said only once."""
    value = _plain(match[0])
    rest = f"{sentence[: match.start()]}{GAP}{sentence[match.end() :]}"
    return value >= LEAST and scan(sentence, YEAR).says(Kind.NUMBER, value) and not scan(rest, YEAR).says(Kind.NUMBER, value)


def _plain(text: str) -> int | float:
    plain = text.replace(",", "")
    return float(plain) if "." in plain else int(plain)


def _iso(text: str) -> str:
    return str(next(iter(scan(text, YEAR).dates)))
