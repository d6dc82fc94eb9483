"""``toolorchestra runs``: what was asked, what happened, and what it cost."""

import importlib
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.text import Text

from toolorchestra.cli.client import Client, path
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
from toolorchestra.cli.platform.folder import StateFolder
from toolorchestra.cli.shell import Shell
from toolorchestra.cli.views.run import conversation, run_view, runs_table
from toolorchestra.core.errors import NotFoundError

TRACE_VIEW: Final = "toolorchestra.cli.views.trace"  # loaded when needed: it brings the tracing libraries along
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Id of the run.")]


def create_group() -> typer.Typer:
    """The commands about runs."""
    group = typer.Typer(name="runs", no_args_is_help=True, help="What was asked, what happened, and what it cost.")
    group.command("list")(list_command)
    group.command("show")(show_command)
    group.command("cancel")(cancel_command)
    group.command("delete")(delete_command)
    return group


def list_command(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=200, help="Most runs shown.")] = 20,
    after: Annotated[str | None, typer.Option(metavar="RUN", help="Older than this run.")] = None,
    *,
    as_json: JsonOption = False,
    url: UrlOption = None,
    cluster: ContextOption = None,
    namespace: NamespaceOption = None,
    account: AccountOption = None,
    key: KeyOption = None,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """List runs, newest first."""
    shell = context.ensure_object(Shell)
    with Connection.find(url, state, Cluster(cluster, namespace, account)).client(key) as client:
        found = client.get("/v1/runs", limit=limit, after=after)
    if as_json:
        shell.data(found)
        return
    runs = found["data"]
    shell.table(runs_table(runs), empty='no runs yet: toolorchestra ask "What is 17 * 23?"')
    if runs and found.get("has_more"):
        shell.note(f"more: toolorchestra runs list --after {runs[-1]['id']}")


def show_command(
    context: typer.Context,
    run: Annotated[str | None, typer.Argument(metavar="[RUN]", help="Id of the run. Default: the newest.")] = None,
    trace: Annotated[bool, typer.Option("--trace", help="Show the spans as a tree.")] = False,
    traces: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder with span files. Default: the one of --state.", file_okay=False)
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
    """Show one run: each decision with its reason, each call with its time and price."""
    shell = context.ensure_object(Shell)
    with Connection.find(url, state, Cluster(cluster, namespace, account)).client(key) as client:
        found = client.get(path("v1", "runs", run or _newest(client)))
    if as_json:
        shell.data(found)
        return
    if trace:
        _show_trace(shell, found, traces or StateFolder(state).traces)
        return
    shell.out.print(conversation(found))
    shell.out.print(run_view(found, url=client.url))


def cancel_command(
    context: typer.Context,
    run: RunArgument,
    url: UrlOption = None,
    cluster: ContextOption = None,
    namespace: NamespaceOption = None,
    account: AccountOption = None,
    key: KeyOption = None,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Cancel a run at its next step."""
    with Connection.find(url, state, Cluster(cluster, namespace, account)).client(key) as client:
        client.post(path("v1", "runs", run, "cancel"))
    context.ensure_object(Shell).out.print(Text(f"{run} will be cancelled at its next step"))


def delete_command(
    context: typer.Context,
    run: RunArgument,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: UrlOption = None,
    cluster: ContextOption = None,
    namespace: NamespaceOption = None,
    account: AccountOption = None,
    key: KeyOption = None,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Remove the contents of a run for good; what it cost stays in the books."""
    if not yes:
        typer.confirm(f"Remove the contents of {run}?", abort=True)
    with Connection.find(url, state, Cluster(cluster, namespace, account)).client(key) as client:
        client.delete(path("v1", "runs", run))
    context.ensure_object(Shell).out.print(Text(f"the contents of {run} are removed"))


def _newest(client: Client) -> str:
    runs = client.get("/v1/runs", limit=1)["data"]
    if not runs:
        raise NotFoundError("there is no run yet", hint='toolorchestra ask "What is 17 * 23?"')
    return str(runs[0]["id"])


def _show_trace(shell: Shell, run: dict[str, Any], folder: Path) -> None:
    trace_id = run.get("trace_id")
    if not trace_id:
        raise NotFoundError(f"the run {run.get('id')} has no trace", hint="tracing was off when it ran")
    tree = importlib.import_module(TRACE_VIEW).read_trace(folder, trace_id)
    if tree is None:
        raise NotFoundError(
            f"the trace {trace_id} is not in {folder}", hint="look in your collector, or name the folder with --traces"
        )
    shell.out.print(tree)
