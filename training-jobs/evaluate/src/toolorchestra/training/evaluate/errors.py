"""What can be wrong with what an evaluation is given."""

from collections.abc import Iterator
from typing import Final

from pydantic import ValidationError

from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.core.problems import words_of

MAX_PROBLEMS: Final = 5


class InvalidRecordsError(InvalidRequestError):
    """A file of records holds a line that is no record; the message names file, line and field."""

    code = "invalid_records"


class InvalidBenchmarkError(InvalidRequestError):
    """A benchmark's file has another schema; the message names file, line, field and what was expected."""

    code = "invalid_benchmark"


class MissingBenchmarkError(InvalidRequestError):
    """A benchmark's file is not there; the hint says where its publisher offers it."""

    code = "missing_benchmark"


class InvalidPlanError(InvalidRequestError):
    """What a report is asked to show does not fit the records."""

    code = "invalid_plan"


def problems_of(error: ValidationError) -> Iterator[str]:
    """The first problems that pydantic found, as ``field: what is wrong``; without those that only follow from one inside."""
    found = error.errors(include_url=False)
    places = [problem["loc"] for problem in found]
    causes = [problem for problem in found if not any(_holds(problem["loc"], place) for place in places)]
    for problem in causes[:MAX_PROBLEMS]:
        place = ".".join(map(str, problem["loc"]))
        yield f"{place}: {words_of(problem)}" if place else words_of(problem)


def _holds(outer: tuple[int | str, ...], inner: tuple[int | str, ...]) -> bool:
    """A list that lost its only item to a problem is too short as well."""
    return len(outer) < len(inner) and inner[: len(outer)] == outer
