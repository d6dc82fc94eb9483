"""``toolorchestra keys``: who may ask, and for how much."""

from typing import Annotated, Any, Final

import typer
from rich.text import Text

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
from toolorchestra.core.money import parse_usd

WINDOWS: Final = ("hour", "day", "month", "total")
FIRST: Final = ("id", "name", "models", "tools", "limits", "created_at", "expires_at", "last_used_at", "revoked_at")


def create_group() -> typer.Typer:
    """The commands about keys."""
    group = typer.Typer(name="keys", no_args_is_help=True, help="Who may ask, and for how much.")
    group.command("create")(create_command)
    group.command("list")(list_command)
    group.command("revoke")(revoke_command)
    return group


def create_command(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    *,
    model: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only these models. Default: all.")] = None,
    limit: Annotated[
        list[str] | None, typer.Option(metavar="WINDOW=USD", help="E.g. `day=5.00`; hour, day, month or total.")
    ] = None,
    tool: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only these tools. Default: all.")] = None,
    expires_in_days: Annotated[int | None, typer.Option(min=1, max=3650, help="Days until it expires. Default: 90.")] = None,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
    url: UrlOption = None,
    cluster: ContextOption = None,
    account: AccountOption = None,
    admin_token_file: AdminTokenOption = None,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Create a key. It is shown this once and nowhere kept."""
    wishes = {
        "models": model or None,
        "tools": tool or None,
        "expires_in_days": expires_in_days,
        "limits": {"limits": read_limits(limit)} if limit else None,
    }
    body = {"name": name, **{field: value for field, value in wishes.items() if value is not None}}
    shell = context.ensure_object(Shell)
    platform = Connection.find(url, state, Cluster(cluster, tenant, account))
    with platform.admin(admin_token_file) as admin:
        created = admin.post(_path(platform), body)
    if as_json:
        shell.data(created)
        return
    shell.raw(f"{created['key']}\n")
    shell.note(f"key {created['id']} of tenant {platform.tenant}; it is not shown again")


def list_command(
    context: typer.Context,
    tenant: TenantOption = None,
    as_json: JsonOption = False,
    url: UrlOption = None,
    cluster: ContextOption = None,
    account: AccountOption = None,
    admin_token_file: AdminTokenOption = None,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """List the keys of a tenant, without their secrets."""
    shell = context.ensure_object(Shell)
    platform = Connection.find(url, state, Cluster(cluster, tenant, account))
    with platform.admin(admin_token_file) as admin:
        found = admin.get(_path(platform))
    if as_json:
        shell.data(found)
        return
    shell.table(records(found["data"], FIRST, leave_out=("tenant", "object")), empty="no keys: toolorchestra keys create NAME")


def revoke_command(
    context: typer.Context,
    key_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the key, as `keys list` shows it.")],
    tenant: TenantOption = None,
    url: UrlOption = None,
    cluster: ContextOption = None,
    account: AccountOption = None,
    admin_token_file: AdminTokenOption = None,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Revoke a key; runs under way stop at their next step."""
    platform = Connection.find(url, state, Cluster(cluster, tenant, account))
    with platform.admin(admin_token_file) as admin:
        admin.delete(_path(platform) + path(key_id))
    context.ensure_object(Shell).out.print(Text(f"{key_id} is revoked"))


def read_limits(words: list[str]) -> dict[str, Any]:
    """``day=5.00`` … as an object. Raises InvalidRequestError."""
    limits: dict[str, Any] = {}
    for word in words:
        window, _, amount = word.partition("=")
        if window not in WINDOWS or not amount:
            raise InvalidRequestError(f"--limit: {word!r} is not a limit", hint=f"write {'|'.join(WINDOWS)}=USD, e.g. day=5.00")
        parse_usd(amount, param="--limit")
        limits[window] = amount
    return limits


def _path(platform: Connection) -> str:
    return path("admin", "v1", "tenants", platform.tenant, "keys")
