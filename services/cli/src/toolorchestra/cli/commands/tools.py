"""``toolorchestra tools``: what may be called, whether it works, and a call by hand."""

import json
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from toolorchestra.cli.client import path
from toolorchestra.cli.connection import (
    DEFAULT_STATE,
    AccountOption,
    Connection,
    ContextOption,
    JsonOption,
    KeyOption,
    NamespaceOption,
    StateOption,
    UrlOption,
)
from toolorchestra.cli.kubectl import Cluster
from toolorchestra.cli.shell import Shell
from toolorchestra.cli.views.tables import new_table
from toolorchestra.cli.views.values import seconds, text, usd
from toolorchestra.cli.views.welcome import faults, why_not
from toolorchestra.core.errors import InvalidRequestError, NotFoundError

FAILED: Final = 1
CALL_TIMEOUT_S: Final = 600.0
DESCRIPTION_CHARACTERS: Final = 70
_SIDES: Final = {"input_per_million_tokens": "in", "output_per_million_tokens": "out"}


def create_group() -> typer.Typer:
    """The commands about tools."""
    group = typer.Typer(name="tools", no_args_is_help=True, help="What may be called: tools, and models as tools.")
    group.command("list")(list_command)
    group.command("check")(check_command)
    group.command("call")(call_command)
    return group


def list_command(
    context: typer.Context,
    as_json: JsonOption = False,
    url: UrlOption = None,
    cluster: ContextOption = None,
    namespace: NamespaceOption = None,
    account: AccountOption = None,
    key: KeyOption = None,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """List tools with their price and whether they are ready."""
    shell = context.ensure_object(Shell)
    with Connection.find(url, state, Cluster(cluster, namespace, account)).client(key) as client:
        _show(shell, client.get("/v1/tools"), as_json=as_json)


def check_command(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TOOL]...", help="Show only these, and fail unless they are ready; also the name of the manifest."
        ),
    ] = None,
    *,
    as_json: JsonOption = False,
    url: UrlOption = None,
    cluster: ContextOption = None,
    namespace: NamespaceOption = None,
    account: AccountOption = None,
    key: KeyOption = None,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Probe all tools now. Fails when a manifest is broken, or when a tool named here is not ready.

    The name of a Tool manifest means all functions that it offers.
    """
    shell = context.ensure_object(Shell)
    with Connection.find(url, state, Cluster(cluster, namespace, account)).client(key) as client:
        found = client.post("/v1/tools/check", read_s=CALL_TIMEOUT_S)
    broken = bool(faults(found))
    if names:
        found = found | {"data": _named(found["data"], set(names))}
    _show(shell, found, as_json=as_json)
    if broken or (names and not all(tool.get("ready") for tool in found["data"])):
        raise typer.Exit(FAILED)


def _named(tools: list[dict[str, Any]], wanted: set[str]) -> list[dict[str, Any]]:
    """The functions with these names or from these resources. Raises NotFoundError."""
    chosen = [tool for tool in tools if not wanted.isdisjoint(_names(tool))]
    if unknown := wanted.difference(*map(_names, chosen)):
        raise NotFoundError(f"no tool is named {', '.join(sorted(unknown))}", hint="`toolorchestra tools list` shows the names")
    return chosen


def _names(tool: dict[str, Any]) -> set[str]:
    return {str(name) for name in (tool["name"], tool.get("resource")) if name}


def call_command(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="TOOL", help="Name of the tool or function.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME=TEXT | NAME:=JSON | JSON]...", help="Arguments: `expression=2+2`, `n:=3`, or an object."),
    ] = None,
    *,
    as_json: JsonOption = False,
    url: UrlOption = None,
    cluster: ContextOption = None,
    namespace: NamespaceOption = None,
    account: AccountOption = None,
    key: KeyOption = None,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Call one tool by hand, through the same checks, budget and records as any run."""
    shell = context.ensure_object(Shell)
    body = {"arguments": read_arguments(arguments or [])}
    with Connection.find(url, state, Cluster(cluster, namespace, account)).client(key) as client:
        result = client.post(path("v1", "tools", name, "call"), body, read_s=CALL_TIMEOUT_S)
    if as_json:
        shell.data(result)
    else:
        shell.raw(f"{text(result.get('content'))}\n")
        shell.note(f"{result.get('status')} · {seconds(result.get('latency_ms'))} · {usd(result.get('cost_usd'))}")
    if result.get("status") != "ok":
        raise typer.Exit(FAILED)


def read_arguments(words: list[str]) -> dict[str, Any]:
    """``name=text``, ``name:=json`` and whole objects as one object. Raises InvalidRequestError."""
    found: dict[str, Any] = {}
    for word in words:
        name, sign, value = word.partition("=")
        if word.lstrip().startswith("{"):
            found.update(_json(word, word))
        elif not sign or not name.rstrip(":"):
            raise InvalidRequestError(f"{word!r} is not an argument", hint="write NAME=TEXT, NAME:=JSON or an object")
        elif name.endswith(":"):
            found[name.removesuffix(":")] = _json(value, word)
        else:
            found[name] = value
    return found


def _json(value: str, word: str) -> Any:
    try:
        return json.loads(value)
    except ValueError as error:
        raise InvalidRequestError(f"{word!r} is not valid JSON: {error}", hint="use NAME=TEXT for plain text") from error


def _show(shell: Shell, found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        shell.data(found)
        return
    table = new_table("tool", "kind", "where", "effects", "price", "ready", "about")
    for tool in found["data"]:
        ready = Text("yes", style="green") if tool.get("ready") else Text(text(tool.get("reason")), style="yellow")
        about = _short(tool.get("description")) if tool.get("ready") else why_not(tool)
        row = (tool["name"], tool.get("kind"), tool.get("execution"), tool.get("side_effects"), price_of(tool.get("price")))
        table.add_row(*(Text(text(value)) for value in row), ready, Text(about))
    shell.table(table, empty="no tools: add a Tool manifest to ./manifests")
    for problem in faults(found):
        shell.error(f"{problem.get('source')}: {problem.get('message')}")


def price_of(price: Any) -> str:
    """Only what is charged: a call, a second, a million tokens in and out."""
    if not isinstance(price, dict):
        return text(price)
    charged = {name: amount for name, amount in price.items() if float(amount or 0) > 0}
    if tokens := [f"{usd(amount)} {_SIDES[name]}" for name, amount in charged.items() if name in _SIDES]:
        return f"{', '.join(tokens)} per M"
    return ", ".join(f"{usd(amount)} {name.replace('_', ' ')}" for name, amount in charged.items()) or "free"


def _short(about: Any) -> str:
    words = text(about)
    return words if len(words) <= DESCRIPTION_CHARACTERS else f"{words[: DESCRIPTION_CHARACTERS - 1]}…"
