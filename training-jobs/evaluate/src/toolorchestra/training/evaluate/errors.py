"""What can be wrong with what an evaluation is given."""

from collections.abc import Iterator, Mapping
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from toolorchestra.core.errors import InvalidRequestError

MAX_PROBLEMS: Final = 5
_WORDS: Final[Mapping[str, str]] = {  # by pydantic's type of a problem, over what it knows of it
    "extra_forbidden": "there is no such field; check its spelling or remove it",
    "missing": "required; add it",
    "string_type": "must be text; put it in quotes",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "must look like {pattern}",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "too_short": "needs at least {min_length}",
    "model_type": "must be a mapping of fields",
    "dict_type": "must be a mapping of fields",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "literal_error": "must be {expected}",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "union_tag_not_found": "{discriminator} is required; add it",
    "union_tag_invalid": "no {discriminator} is {tag!r}; write one of {expected_tags}",
}


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
        yield f"{place}: {_words(problem)}" if place else _words(problem)


def _holds(outer: tuple[int | str, ...], inner: tuple[int | str, ...]) -> bool:
    """A list that lost its only item to a problem is too short as well."""
    return len(outer) < len(inner) and inner[: len(outer)] == outer


def _words(problem: ErrorDetails) -> str:
    told = _WORDS.get(problem["type"])
    return problem["msg"].removeprefix("Value error, ") if told is None else told.format(**problem.get("ctx", {}))
