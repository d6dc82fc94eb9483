"""Questions with reference answers, whichever benchmark they are from, and the loaders of HLE and FRAMES.

The files are the user's: nothing of them is shipped here. What a loader does not need (such as the marker strings by which
publishers find leaked copies) is dropped while reading.
"""

import ast
import re
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AliasChoices, BeforeValidator, Field

from toolorchestra.core.functions import Frozen
from toolorchestra.training.evaluate.benchmarks.lines import Foreign, read_all, refuse

HLE_SOURCE: Final = (
    "Humanity's Last Exam is the data set cais/hle on Hugging Face, offered after its terms are accepted; "
    "save its text-only questions as JSON lines"
)
FRAMES_SOURCE: Final = (
    "FRAMES is the data set google/frames-benchmark on Hugging Face; name its test.tsv, or save it as JSON lines"
)
_LETTER: Final = re.compile(r"\(?[A-Z]\)?\.?")


class Question(Frozen):
    """One question. ``cluster``: what questions share; ``grader``: the one that its kind of answer asks for."""

    suite: str
    id: str
    text: str
    reference: str
    topic: str = ""
    cluster: str
    grader: str


class Questions(Frozen):
    """What a file held; ``skipped`` counts by reason what cannot be asked here."""

    questions: tuple[Question, ...]
    skipped: dict[str, int] = Field(default_factory=dict)


class _HleRecord(Foreign):
    id: str = Field(min_length=1)
    question: str = Field(min_length=1)
    answer: str = Field(min_length=1)
    answer_type: Literal["exactMatch", "multipleChoice"]
    image: str | None = None
    category: str = ""


def _listed(value: Any) -> Any:
    """A list, also where a table holds its text: ``['https://…', 'https://…']``."""
    if not isinstance(value, str):
        return value or ()
    try:
        found = ast.literal_eval(value.strip() or "[]")
    except (ValueError, SyntaxError, MemoryError, RecursionError):  # whatever Python makes of a text that is no list
        found = value
    if isinstance(found, list):
        return found
    raise ValueError(f"expected a list, or its text such as ['https://…'], found {value[:20]!r}")


class _FramesRecord(Foreign):
    """Published as a table with the columns Prompt, Answer, reasoning_types, wiki_links; some copies have an index as well."""

    id: str | int = Field(default="", validation_alias=AliasChoices("id", "Unnamed: 0", ""))
    question: str = Field(min_length=1, validation_alias=AliasChoices("Prompt", "question"))
    answer: str = Field(min_length=1, validation_alias=AliasChoices("Answer", "answer"))
    reasoning_types: Annotated[str, BeforeValidator(lambda value: " | ".join(value) if isinstance(value, list) else value)] = ""
    wiki_links: Annotated[Sequence[str], BeforeValidator(_listed)] = ()


def load_hle(path: Path) -> Questions:
    """Humanity's Last Exam, text only: questions with a picture are counted and left out. Each is a cluster of its own."""
    records = read_all(path, _HleRecord, benchmark="HLE", source=HLE_SOURCE)
    for line, record in records:
        if record.answer_type == "multipleChoice" and not _LETTER.fullmatch(record.answer.strip()):
            raise refuse(path, line, "answer", f"expected a letter for multipleChoice, found {record.answer[:20]!r}")
    pictures = sum(bool(record.image) for _, record in records)
    questions = [(line, _of_hle(record)) for line, record in records if not record.image]
    return Questions(questions=unique(path, questions), skipped={"needs an image": pictures} if pictures else {})


def _of_hle(record: _HleRecord) -> Question:
    return Question(
        suite="hle",
        id=record.id,
        text=record.question,
        reference=record.answer.strip(),
        topic=record.category,
        cluster=record.id,
        grader="choice" if record.answer_type == "multipleChoice" else "judge",
    )


def load_frames(path: Path) -> Questions:
    """FRAMES. Questions on the same documents are one cluster, where the file names them (``wiki_links``).

    A question without an id is called by its place, as the publisher's index counts.
    """
    records = read_all(path, _FramesRecord, benchmark="FRAMES", source=FRAMES_SOURCE)
    questions = [(line, _of_frames(record, str(place))) for place, (line, record) in enumerate(records)]
    return Questions(questions=unique(path, questions))


def _of_frames(record: _FramesRecord, place: str) -> Question:
    name = str(record.id) or place
    documents = "\n".join(sorted(set(record.wiki_links)))
    cluster = blake2b(documents.encode(), digest_size=8).hexdigest() if documents else name
    topic = record.reasoning_types.split("|")[0].strip()
    return Question(
        suite="frames",
        id=name,
        text=record.question,
        reference=record.answer,
        topic=topic,
        cluster=cluster,
        grader="judge",
    )


def unique(path: Path, questions: Sequence[tuple[int, Question]]) -> tuple[Question, ...]:
    """The questions. Raises InvalidBenchmarkError where an id stands twice."""
    seen: dict[str, int] = {}
    for line, question in questions:
        if question.id in seen:
            raise refuse(path, line, "id", f"{question.id!r} stands on line {seen[question.id]} already")
        seen[question.id] = line
    return tuple(question for _, question in questions)
