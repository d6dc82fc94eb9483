"""``toolorchestra models``: what can be asked."""

from typing import Any

import typer

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
from toolorchestra.cli.views.values import text, usd


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("models")(models_command)


def models_command(
    context: typer.Context,
    as_json: JsonOption = False,
    url: UrlOption = None,
    cluster: ContextOption = None,
    namespace: NamespaceOption = None,
    account: AccountOption = None,
    key: KeyOption = None,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """List the names that may stand in --model: orchestrators, and models behind them."""
    shell = context.ensure_object(Shell)
    with Connection.find(url, state, Cluster(cluster, namespace, account)).client(key) as client:
        found = client.get("/v1/models")
    if as_json:
        shell.data(found)
        return
    table = new_table("model", "kind", "policy or price", "about")
    for model in found["data"]:
        about = model.get("toolorchestra") or {}
        table.add_row(model["id"], text(about.get("kind")), _essence(about), text(about.get("description")))
    shell.table(table, empty="no models: add an Orchestrator or ExpertModel manifest to ./manifests")


def _essence(about: dict[str, Any]) -> str:
    """Who decides, for an orchestrator; what a million tokens cost, for a model."""
    price = about.get("price_usd_per_million_tokens")
    if about.get("policy"):
        return str(about["policy"])
    return f"{usd(price.get('input'))} in, {usd(price.get('output'))} out per million tokens" if price else "price unknown"
