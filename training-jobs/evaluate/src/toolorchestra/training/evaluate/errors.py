"""What can be wrong with what an evaluation is given."""

from collections.abc import Iterator
from typing import Final

from pydantic import ValidationError

from toolorchestra.core.errors import InvalidRequestError, NotFoundError

MAX_PROBLEMS: Final = 5


class InvalidRecordsError(InvalidRequestError):
    """A file of records holds a line that is no record; the message names file, line and field."""

    code = "invalid_records"


class InvalidBenchmarkError(InvalidRequestError):
    """A benchmark's file has another schema; the message names file, line, field and what was expected."""

    code = "invalid_benchmark"


class MissingBenchmarkError(NotFoundError):
    """A benchmark's file is not there; the hint says where its publisher offers it."""

    code = "missing_benchmark"


class InvalidPlanError(InvalidRequestError):
    """What a report is asked to show does not fit the records."""

    code = "invalid_plan"


def problems_of(error: ValidationError) -> Iterator[str]:
    """The first problems that pydantic found, as ``field: what is wrong``."""
    for problem in error.errors(include_url=False)[:MAX_PROBLEMS]:
        place = ".".join(map(str, problem["loc"]))
        yield f"{place}: {problem['msg'].removeprefix('Value error, ')}" if place else problem["msg"]
