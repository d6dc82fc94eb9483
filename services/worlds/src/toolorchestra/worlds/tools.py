"""Tools of a world: functions over its database with typed arguments, declared in the world's tools.py.

``@tool`` makes one of a function; ``combinators`` declares the usual ones without code. What tools.py holds are
declarations; a world binds them to its schema, so that a column's type and description become those of the argument.
"""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, TypeAlias, get_type_hints

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError, create_model

from toolorchestra.core.functions import SideEffects
from toolorchestra.worlds.errors import InvalidWorldError, ToolRefusal, problems_of
from toolorchestra.worlds.schema import WorldSpec
from toolorchestra.worlds.state import Database

Body: TypeAlias = Callable[..., JsonValue]


def _in_calendar(value: str) -> str:
    """The 31st of February fits the pattern and is no day: tools may reckon with what they get."""
    datetime.fromisoformat(value)
    return value


Day = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$", json_schema_extra={"format": "date"}), AfterValidator(_in_calendar)]
Moment = Annotated[
    str,
    Field(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}$", json_schema_extra={"format": "date-time"}),
    AfterValidator(_in_calendar),
]
Amount = Annotated[str, Field(pattern=r"^\d{1,9}\.\d{2}$", json_schema_extra={"format": "money"})]
_ARGUMENT: Final = re.compile(r"^(?P<name>[a-z_][a-z0-9_]*):\s+(?P<text>.+)$")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class WorldTool:
    """One tool. ``parameters`` is the JSON Schema of the arguments; ``run`` gets the session's database and the arguments.

    A tool returns JSON, or raises ToolRefusal. It reads no clock (``database.spec.now`` is the time) and draws nothing.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    side_effects: SideEffects
    arguments: type[BaseModel]
    body: Body

    @property
    def writes(self) -> bool:
        """Whether it may change anything."""
        return self.side_effects != "readOnly"

    def run(self, database: Database, arguments: Mapping[str, Any]) -> JsonValue:
        """Check the arguments and do the work. Raises ToolRefusal: ``invalid_arguments``, or what the tool says."""
        try:
            checked = self.arguments.model_validate(dict(arguments))
        except ValidationError as error:
            raise ToolRefusal("invalid_arguments", "; ".join(problems_of(error))) from error
        return self.body(database, **{name: getattr(checked, name) for name in type(checked).model_fields})


@dataclass(frozen=True, slots=True)
class Declared:
    """A tool as tools.py declares it; ``bind`` makes it one of a world."""

    name: str
    bind: Callable[[WorldSpec], WorldTool]


def make_tool(
    name: str, description: str, side_effects: SideEffects, arguments: Mapping[str, tuple[Any, Any]], body: Body
) -> WorldTool:
    """A tool of its parts. ``arguments``: name → (type, pydantic Field with its description and default)."""
    if not _NAME.fullmatch(name):
        raise InvalidWorldError(f"tool {name!r}: a name is of lower case letters, digits and _", param=name)
    if not description:
        raise InvalidWorldError(f"tool {name!r}: has no description", param=name, hint="say what it does: managers read it")
    if side_effects not in ("readOnly", "idempotent", "destructive"):
        raise InvalidWorldError(f"tool {name!r}: side_effects is readOnly, idempotent or destructive", param="side_effects")
    model: type[BaseModel] = create_model(name, __config__=ConfigDict(extra="forbid", strict=True), **dict[str, Any](arguments))
    return WorldTool(name, description, _plain_schema(model), side_effects, model, body)


def tool(*, side_effects: SideEffects) -> Callable[[Body], Declared]:
    """Make a tool of ``def name(db: Database, argument: type, …) -> JSON``.

    The docstring's first paragraph is the description; its lines ``argument: meaning`` describe the arguments, all of them.
    Types are str, int, bool, Literal, lists of these, ``Day``, ``Moment`` and ``Amount``; ``| None = None`` makes one optional.
    """

    def declare(function: Body) -> Declared:
        name = getattr(function, "__name__", "")
        description, meanings = _read_docstring(inspect.getdoc(function) or "")
        return Declared(
            name, lambda _: make_tool(name, description, side_effects, _arguments(name, function, meanings), function)
        )

    return declare


def cents(amount: str) -> int:
    """An ``Amount`` as rows hold money: ``"42.50"`` → ``4250``."""
    whole, _, rest = amount.partition(".")
    return int(whole) * 100 + int(rest)


def _arguments(name: str, function: Body, meanings: Mapping[str, str]) -> dict[str, tuple[Any, Any]]:
    hints = get_type_hints(function, include_extras=True)
    parameters = list(inspect.signature(function).parameters.values())[1:]
    found: dict[str, tuple[Any, Any]] = {}
    for parameter in parameters:
        if parameter.name not in meanings:
            hint = f"add a line '{parameter.name}: …' to the docstring"
            raise InvalidWorldError(f"tool {name!r}: argument {parameter.name!r} has no description", param=name, hint=hint)
        if parameter.name not in hints:
            hint = f"write it, e.g. {parameter.name}: str"
            raise InvalidWorldError(f"tool {name!r}: argument {parameter.name!r} has no type", param=name, hint=hint)
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        found[parameter.name] = (hints[parameter.name], Field(default, description=meanings[parameter.name]))
    return found


def _read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """The description, and what each argument means."""
    lines = text.splitlines()
    meanings = {match["name"]: match["text"] for line in lines if (match := _ARGUMENT.match(line.strip()))}
    first = text.split("\n\n", maxsplit=1)[0]
    return " ".join(first.split()), meanings


def _plain_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema without what says nothing to a manager: titles, and null as another way to leave an argument out."""
    schema = model.model_json_schema()
    properties = {name: _plain_property(about) for name, about in schema.get("properties", {}).items()}
    required = {"required": schema["required"]} if "required" in schema else {}
    return {"type": "object", "properties": properties, **required, "additionalProperties": False}


def _plain_property(about: Mapping[str, Any]) -> dict[str, Any]:
    plain = {key: value for key, value in about.items() if key != "title" and not (key == "default" and value is None)}
    kinds = plain.pop("anyOf", None)
    for kind in kinds or ():
        if kind.get("type") != "null":
            plain = {**kind, **plain}
    return plain
