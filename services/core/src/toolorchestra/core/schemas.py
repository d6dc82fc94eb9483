"""JSON Schemas (2020-12) of functions: whether one can be used, and whether arguments fit it. Nothing is ever fetched."""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, best_match
from referencing import Registry
from referencing.exceptions import Unresolvable

MESSAGE_CHARACTERS: Final = 300
_CLOSED: Final[Registry[Any]] = Registry()  # the library's default one would download what a `$ref` names


def schema_problem(schema: Mapping[str, Any]) -> str | None:
    """Why no arguments can be checked against the schema; None if it is sound."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return f"{_place(error.absolute_path, 'schema')}: {error.message[:MESSAGE_CHARACTERS]}"
    except RecursionError:
        return "it is nested too deeply"
    if schema.get("type", "object") != "object":
        return 'type: must be "object", since arguments have names'
    return None


def arguments_problem(schema: Mapping[str, Any], arguments: Mapping[str, Any]) -> str | None:
    """Which argument breaks the schema, and how; None if they fit."""
    try:
        error = best_match(_validator(json.dumps(schema, sort_keys=True)).iter_errors(arguments))
    except (SchemaError, Unresolvable, re.error, RecursionError) as broken:
        return f"the schema of the arguments is broken: {str(broken)[:MESSAGE_CHARACTERS]}"
    if error is None:
        return None
    return f"{_place(error.absolute_path, 'arguments')}: {error.message[:MESSAGE_CHARACTERS]}"


@lru_cache(maxsize=512)
def _validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(schema), registry=_CLOSED)


def _place(path: Any, whole: str) -> str:
    return ".".join(str(part) for part in path) or whole
