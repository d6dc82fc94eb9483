"""Pydantic's problems in words that say what to do, for whoever wrote the file."""

from collections.abc import Mapping
from typing import Final

from pydantic_core import ErrorDetails

_WORDS: Final[Mapping[str, str]] = {  # by pydantic's type of a problem, over what it knows of it
    "extra_forbidden": "unknown field; check its spelling or remove it",
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


def words_of(problem: ErrorDetails) -> str:
    """What is wrong and what to do; pydantic's own words where there are no better ones."""
    told = _WORDS.get(problem["type"])
    return problem["msg"].removeprefix("Value error, ") if told is None else told.format(**problem.get("ctx", {}))
