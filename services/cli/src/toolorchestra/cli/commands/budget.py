"""``toolorchestra budget``: what may be spent, what was, and what is left."""

from typing import Any, Final

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
from toolorchestra.cli.views.tables import new_table
from toolorchestra.cli.views.values import moment, text, usd

AMOUNTS: Final = ("limit", "spent", "held", "over", "remaining")


def create_group() -> typer.Typer:
    """The commands about budgets."""
    group = typer.Typer(name="budget", no_args_is_help=True, help="What may be spent, what was, and what is left.")
    group.callback()(_about)
    group.command("show")(show_command)
    return group


def _about() -> None:
    """What may be spent, what was, and what is left."""


def show_command(
    context: typer.Context,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
    url: UrlOption = None,
    cluster: ContextOption = None,
    account: AccountOption = None,
    admin_token_file: AdminTokenOption = None,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Show every limit with what is spent, held and left of it."""
    shell = context.ensure_object(Shell)
    platform = Connection.find(url, state, Cluster(cluster, tenant, account))
    with platform.admin(admin_token_file) as admin:
        found = admin.get(path("admin", "v1", "tenants", platform.tenant, "budget"))
    if as_json:
        shell.data(found)
        return
    table = new_table("window", "unit", *AMOUNTS, "start", "end")
    for window in found["data"]:
        amounts = (_amount(window.get(name), window.get("unit")) for name in AMOUNTS)
        table.add_row(text(window.get("window")), text(window.get("unit")), *amounts, *_span(window))
    shell.table(table, empty="no limits: add a BudgetPolicy manifest to ./manifests")


def _amount(value: Any, unit: Any) -> str:
    if value is None:
        return "unlimited"
    return usd(value) if unit == "usd" else text(value)


def _span(window: dict[str, Any]) -> tuple[str, str]:
    """When the window began and when it ends; nothing for a window without bounds."""
    return moment(window.get("start")), moment(window.get("end"))
