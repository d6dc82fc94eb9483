"""Writes docs/reference/resources.md, settings.md, cli.md and task.schema.json from the code that they describe.

usage: python infra/reference.py [--check]      (with --check nothing is written; it fails if a page is not what it would write)
"""

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import typer
from pydantic import BaseModel, SecretStr
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from toolorchestra.cli.main import create_app
from toolorchestra.core.durations import Duration
from toolorchestra.core.resources import API_VERSION, KINDS, BudgetPolicySpec
from toolorchestra.core.resources.meta import Capability, Name, Usd
from toolorchestra.core.resources.pods import Quantity
from toolorchestra.core.resources.status import Status
from toolorchestra.kit.settings import NESTING, PREFIX, Settings
from toolorchestra.operator.settings import OperatorSettings
from toolorchestra.orchestrator.settings import OrchestratorSettings
from toolorchestra.worker.settings import WorkerSettings
from toolorchestra.worlds.tasks import json_schema

FOLDER: Final = Path(__file__).resolve().parents[1] / "docs" / "reference"
MADE: Final = "<!-- Written by infra/reference.py; change the code, then run it. -->\n"
UNITS: Final = (
    ("_tokens", "tokens"),
    ("_bytes", "bytes"),
    ("_ms", "ms"),
    ("_s", "s"),
    ("_days", "days"),
    ("weight", "percent"),
)
PLAIN: Final[Mapping[Any, str]] = {
    str: "text",
    bool: "true or false",
    int: "integer",
    float: "number",
    Any: "any JSON",
    Path: "path",
}
MONEY: Final = 'US dollars, e.g. `"0.05"`'
SPECIAL: Final = (
    (Usd, MONEY),
    (Duration, "duration, e.g. `30s`"),
    (Quantity, "quantity, e.g. `500m` or `8Gi`"),
    (Name, "name"),
    (Capability, "word"),
)
SHARED_BY: Final = 4  # an option of so many commands stands once, at the top of the page
INSIDE: Final[Mapping[str, str]] = {"list": "[]", "map": ".NAME"}  # how the path goes on into an item
_DEFAULT: Final = re.compile(r"\s*(?<!\w)Default: (?P<text>.+?)\.?$")


class Row(NamedTuple):
    """One line of a table: a field or a setting."""

    name: str
    kind: str
    default: str
    about: str


def resources() -> str:
    """Every field of every kind."""
    intro = (
        f"{MADE}# Resources\n\n"
        f"A manifest is YAML with `apiVersion: {API_VERSION}`, a `kind`, `metadata.name` and a `spec`. Unknown fields are\n"
        "errors. Money is text in quotes, in US dollars, with at most nine decimal places. A duration is a whole number and\n"
        "`ms`, `s`, `m`, `h` or `d`. A name has lower-case letters, digits and `-`, at most 63 of them. `metadata.namespace`\n"
        "is the tenant; on one machine leave it out, then it is `default`. `status` is written by the platform.\n\n"
        "On one machine act Tool, ExpertModel with `endpoint`, Orchestrator and BudgetPolicy. ExpertModel with `kserve` or\n"
        "`inferenceServiceRef` and the last three kinds need a cluster with the operator; on one machine they are only read\n"
        "and checked. `mcp.stdio` is for manifests in files only. On a cluster the API server checks the same rules when a\n"
        "manifest is applied, `kubectl explain` shows these descriptions, and the operator reports the rest in `status`.\n"
    )
    common = f"## Status\n\n{_sentence(Status)}\n\n{_observed(fields(Status, 'status'))}"
    return "\n".join([intro, *(_kind(name, kind) for name, kind in KINDS.items()), common])


def _kind(name: str, kind: type[BaseModel]) -> str:
    spec, status = (_model(kind, part) for part in ("spec", "status"))
    wanted = table(("field", "type", "default", "meaning"), fields(spec, "spec"))
    own = tuple(f"`status.{to_camel(field)}" for field in status.model_fields if field not in Status.model_fields)
    seen = _observed(row for row in fields(status, "status") if row.name.startswith(own))
    return f"## {name}\n\n{_sentence(kind)}\n\n{wanted}\nBeside [what all kinds report](#status):\n\n{seen}"


def _observed(rows: Iterable[Row]) -> str:
    return table(("status", "type", "meaning"), ((row.name, row.kind, row.about) for row in rows))


def _model(kind: type[BaseModel], part: str) -> type[BaseModel]:
    model = _without_none(kind.model_fields[part].annotation)
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise TypeError(f"{kind.__name__} has no {part}")
    return model


def fields(model: type[BaseModel], path: str) -> Iterator[Row]:
    """The fields of a model and, below each, those of the models in it."""
    hints = get_type_hints(model, include_extras=True)
    for name, info in model.model_fields.items():
        place = f"{path}.{info.alias or name}"
        kind, inner = described(hints[name], info, name)
        yield Row(f"`{place}`", kind, default(info, quoted=kind == MONEY), about(name, info, inner))
        if inner is not None:
            yield from fields(inner, place + INSIDE.get(kind.split()[0], ""))


def described(hint: Any, info: FieldInfo, name: str = "") -> tuple[str, type[BaseModel] | None]:
    """A type in words, with its unit and bounds, and the model inside it."""
    hint = _without_none(hint)
    for special, words in SPECIAL:
        if hint == special:
            return words, None
    if get_origin(hint) is not None and hasattr(hint, "__metadata__"):
        return described(hint.__origin__, info, name)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments), None
    if origin in (list, tuple):
        words, inner = described(arguments[0], FieldInfo())
        return f"list of {'objects' if inner else words}", inner
    if origin is dict:
        words, inner = described(arguments[1], FieldInfo())
        return f"map of {'objects' if inner else words}", inner
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return "object", hint
    if isinstance(hint, type) and issubclass(hint, SecretStr):
        return "text, secret", None
    return _bounded(_plain(hint), info, name), None


def _plain(hint: Any) -> str:
    if hint in PLAIN:
        return PLAIN[hint]
    return " or ".join(f"`{value.value}`" for value in hint)  # an enum


def _bounded(words: str, info: FieldInfo, name: str) -> str:
    if words not in ("integer", "number"):
        return words
    unit = next((unit for ending, unit in UNITS if name.endswith(ending)), None)
    bounds = {kind: getattr(item, kind) for item in info.metadata for kind in ("ge", "gt", "le") if hasattr(item, kind)}
    low = f"from {bounds['ge']}" if "ge" in bounds else f"more than {bounds['gt']}" if "gt" in bounds else ""
    high = f"to {bounds['le']}" if "le" in bounds else ""
    span = " ".join(part for part in (low, high) if part)
    return ", ".join(part for part in (f"{words} ({unit})" if unit else words, span) if part)


def _without_none(hint: Any) -> Any:
    if get_origin(hint) in (Union, UnionType):
        left = [item for item in get_args(hint) if item is not NoneType]
        return left[0] if len(left) == 1 else hint
    return hint


def default(info: FieldInfo, *, quoted: bool = False) -> str:
    """A default: the value where it says enough, else the words of the description; ``required`` without one."""
    if info.is_required():
        return "required"
    said = _DEFAULT.search(info.description or "")
    match info.default:
        case bool() as value:
            return f"`{str(value).lower()}`"
        case str() as value if value:
            return f'`"{value}"`' if quoted else f"`{value}`"
        case int() | float() as value:
            return f"`{value}`" if isinstance(value, int) else f"`{value:g}`"
        case _:
            return said["text"] if said else "–"


def about(name: str, info: FieldInfo, inner: type[BaseModel] | None = None) -> str:
    """The description without the default, which has a column of its own, and what the model inside says of itself."""
    text = _DEFAULT.sub("", info.description or "").strip() or f"{name.replace('_', ' ').capitalize()}."
    more = _sentence(inner) if inner is not None else ""
    return text if more in ("", text) else f"{text} {more}"


def settings() -> str:
    """Every variable that the services read."""
    applications: tuple[tuple[str, type[Settings]], ...] = (
        ("orchestrator", OrchestratorSettings),
        ("worker", WorkerSettings),
        ("operator", OperatorSettings),
    )
    found: dict[str, tuple[Row, list[str]]] = {}
    for application, kind in applications:
        for row in variables(kind, PREFIX):
            found.setdefault(row.name + row.about + row.default, (row, []))[1].append(application)
    rows = [(*row, ", ".join(names)) for row, names in found.values()]
    intro = (
        f"{MADE}# Settings\n\n"
        "Variables of the orchestrator, the workers and the operator. `toolorchestra up` sets what its options and its state\n"
        "folder say and passes its own environment on, so set any other variable where `up` is started. By hand the services\n"
        "are started with `python -m toolorchestra.orchestrator`, `… toolorchestra.worker` and `… toolorchestra.operator`.\n"
        "Lists and objects are JSON; two underscores lead into a group: `TOOLORCHESTRA_LOG__LEVEL=debug`. A variable that\n"
        "looks like a misspelt one is refused. What is not in the environment may be a file of the same name in the folder\n"
        "`TOOLORCHESTRA_SECRETS_FOLDER`. What the command itself reads is in [Command line](cli.md).\n"
    )
    return f"{intro}\n{table(('variable', 'type', 'default', 'meaning', 'read by'), rows)}"


def variables(kind: type[BaseModel], prefix: str) -> Iterator[Row]:
    """The variables of a settings class; groups are opened, except a policy, whose fields are in resources.md."""
    hints = get_type_hints(kind, include_extras=True)
    for name, info in kind.model_fields.items():
        variable = f"{prefix}{name.upper()}"
        words, inner = described(hints[name], info, name)
        if inner is None or inner is BudgetPolicySpec:
            shown = "[spec of a BudgetPolicy](resources.md#budgetpolicy)" if inner else words
            computed = info.default_factory is not None and inner is None
            yield Row(f"`{variable}`", shown, "host and process" if computed else default(info), about(name, info))
        else:
            yield from variables(inner, f"{variable}{NESTING}")


def cli() -> str:
    """Every command with its arguments and options."""
    root: Any = typer.main.get_command(create_app())
    commands = dict(_commands(root, "toolorchestra"))
    counts = Counter(_option(parameter) for command in commands.values() for parameter in _options(command))
    shared = {option for option, count in counts.items() if count >= SHARED_BY}
    intro = (
        f"{MADE}# Command line\n\n"
        "In a checkout the command is `.venv/bin/toolorchestra`. Answers and data go to standard output, everything else to\n"
        "standard error. Exit codes: 0 done, 1 it failed, 2 the command line is wrong, 130 interrupted.\n"
        "`toolorchestra --install-completion` completes commands in your shell.\n\n"
        f"{table(('option of many commands', 'meaning', 'default', 'variable'), sorted(shared))}"
    )
    globally = table(("option", "meaning", "default", "variable"), map(_option, _options(root)))
    parts = [f"## toolorchestra\n\n{globally}", *(_command(name, one, shared) for name, one in commands.items())]
    return "\n".join([intro, *parts])


def _commands(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def _command(name: str, command: Any, shared: set[tuple[str, ...]]) -> str:
    arguments = [_argument(p) for p in command.params if p.param_type_name == "argument"]
    own = [option for p in _options(command) if (option := _option(p)) not in shared]
    common = [option[0].split()[0].strip("`") for p in _options(command) if (option := _option(p)) in shared]
    lines = [f"## {name}", "", command.help, ""]
    if arguments:
        lines.append(table(("argument", "meaning"), arguments))
    if own:
        lines.append(table(("option", "meaning", "default", "variable"), own))
    if common:
        lines.append(f"Also: {', '.join(f'`{option}`' for option in common)}.\n")
    return "\n".join(lines)


def _options(command: Any) -> list[Any]:
    return [p for p in command.params if p.param_type_name == "option" and not p.hidden and p.name != "help"]


def _argument(parameter: Any) -> tuple[str, str]:
    return f"`{parameter.metavar or parameter.name.upper()}`", parameter.help or ""


def _option(parameter: Any) -> tuple[str, ...]:
    names = " / ".join([*parameter.opts, *parameter.secondary_opts])
    value = "" if parameter.is_flag else f" {parameter.metavar or parameter.name.upper()}"
    shown = parameter.default not in (None, False) and not (parameter.is_flag and not parameter.secondary_opts)
    preset = parameter.opts[0] if parameter.default is True else parameter.default
    text = parameter.help or ""
    said = _DEFAULT.search(text)
    fallback = said["text"] if said else "–"
    variable = f"`{parameter.envvar}`" if parameter.envvar else "–"
    return f"`{names}{value}`", _DEFAULT.sub("", text), f"`{preset}`" if shown else fallback, variable


def table(head: tuple[str, ...], rows: Any) -> str:
    """A Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def task_schema() -> str:
    """The JSON Schema of a line of a world's tasks.jsonl."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def _sentence(kind: type[BaseModel]) -> str:
    return " ".join((kind.__doc__ or "").split())


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "resources.md": resources,
    "settings.md": settings,
    "cli.md": cli,
    "task.schema.json": task_schema,
}


def stale(folder: Path = FOLDER) -> list[str]:
    """Names of the pages that are not what they should be."""
    return [name for name, page in PAGES.items() if not (folder / name).exists() or (folder / name).read_text() != page()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page would change")
    if parser.parse_args().check:
        old = stale()
        for name in old:
            print(f"docs/reference/{name} is not what the code says; run python infra/reference.py", file=sys.stderr)
        return 1 if old else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
