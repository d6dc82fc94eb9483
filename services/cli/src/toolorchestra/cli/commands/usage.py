"""``toolorchestra usage``: where the money went."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer

from toolorchestra.cli.client import path
from toolorchestra.cli.connection import (
    DEFAULT_STATE,
    AccountOption,
    AdminTokenOption,
    Connection,
    ContextOption,
    JsonOption,
    StateOption,
    TenantOption,
    UrlOption,
)
from toolorchestra.cli.kubectl import Cluster
from toolorchestra.cli.shell import Shell
from toolorchestra.cli.views.tables import records
from toolorchestra.core.errors import InvalidRequestError

GROUPS: Final = ("key", "function", "model", "kind", "day")
DECISIONS: Final = "decisions"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("usage")(usage_command)


def usage_command(
    context: typer.Context,
    *,
    by: Annotated[
        str, typer.Option(metavar="GROUPS", help="Any of key, function, model, kind, day, metadata:NAME.")
    ] = "function",
    since: Annotated[str | None, typer.Option(metavar="DATE", help="From this day or moment on, e.g. 2026-11-01.")] = None,
    until: Annotated[str | None, typer.Option(metavar="DATE", help="Before this day or moment.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV with the columns of FOCUS.")] = False,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
    url: UrlOption = None,
    cluster: ContextOption = None,
    account: AccountOption = None,
    admin_token_file: AdminTokenOption = None,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Show where the money went, grouped."""
    if csv and as_json:
        raise InvalidRequestError("--csv and --json exclude each other", hint="leave one out")
    shell = context.ensure_object(Shell)
    groups = _groups(by)
    span = {"since": _moment(since, "--since"), "until": _moment(until, "--until")}
    platform = Connection.find(url, state, Cluster(cluster, tenant, account))
    usage = path("admin", "v1", "tenants", platform.tenant, "usage")
    with platform.admin(admin_token_file) as admin:
        if csv:
            shell.raw(admin.text(usage, **span, format="csv"))
            return
        found = admin.get(usage, **span, group_by=groups, format="json")
    if as_json:
        shell.data(found)
        return
    shell.table(records(_labelled(found["data"], groups), groups), empty="nothing was spent in that time")


def _labelled(rows: list[dict[str, Any]], groups: list[str]) -> list[dict[str, Any]]:
    """What was spent on no function went to the manager's own decisions and closing answers."""
    if "function" not in groups:
        return rows
    return [row | {"function": row.get("function") or DECISIONS} for row in rows]


def _groups(by: str) -> list[str]:
    groups = [group.strip() for group in by.split(",")]
    for group in groups:
        if group not in GROUPS and not (group.startswith("metadata:") and group != "metadata:"):
            raise InvalidRequestError(
                f"--by: {group!r} is not a group", hint=f"use {', '.join(GROUPS)} or metadata:NAME, joined by commas"
            )
    return groups


def _moment(text: str | None, option: str) -> str | None:
    """A day or a moment, in UTC unless it says otherwise."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidRequestError(
            f"{option}: {text!r} is neither a day nor a moment", hint="write 2026-11-01 or 2026-11-01T12:00:00+01:00"
        ) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()
