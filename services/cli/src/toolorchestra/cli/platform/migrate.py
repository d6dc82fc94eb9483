"""The database's schema, brought up to date before the services start."""

import importlib
from typing import Final

SCHEMA_MODULE: Final = "toolorchestra.ledger.schema"


def load_schema() -> None:
    """Load the module and the database driver, which takes a while; commands that only ask need neither."""
    importlib.import_module(SCHEMA_MODULE)


async def migrate(database_url: str) -> None:
    """Apply what is missing. Raises UnavailableError without a database."""
    await importlib.import_module(SCHEMA_MODULE).migrate(database_url)
