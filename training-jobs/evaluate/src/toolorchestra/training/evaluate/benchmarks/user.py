"""Questions of one's own: JSON lines with ``id``, ``question`` and ``answer``, and optionally ``topic`` and ``cluster``."""

from pathlib import Path
from typing import Final

from pydantic import Field

from toolorchestra.training.evaluate.benchmarks.lines import Foreign, read_all
from toolorchestra.training.evaluate.benchmarks.questions import Question, Questions, unique

SOURCE: Final = "write one JSON object per line with id, question and answer; topic and cluster if you like"


class _UserRecord(Foreign):
    id: str | int
    question: str = Field(min_length=1)
    answer: str = Field(min_length=1)
    topic: str = ""
    cluster: str = ""


def load_user_questions(path: Path, *, suite: str, grader: str) -> Questions:
    """The questions of a file. Raises MissingBenchmarkError, InvalidBenchmarkError."""
    records = read_all(path, _UserRecord, benchmark="your questions", source=SOURCE)
    questions = [
        (
            line,
            Question(
                suite=suite,
                id=str(record.id),
                text=record.question,
                reference=record.answer,
                topic=record.topic,
                cluster=record.cluster or str(record.id),
                grader=grader,
            ),
        )
        for line, record in records
    ]
    return Questions(questions=unique(path, questions))
