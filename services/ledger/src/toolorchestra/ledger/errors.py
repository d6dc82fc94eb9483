"""Where PostgreSQL's errors end: each becomes one of ours, and nothing of a value travels in a message."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import errors as pg

from toolorchestra.core.errors import ConflictError, InvalidRequestError, ToolOrchestraError, UnavailableError
from toolorchestra.core.loop.journal import Denial, DeniedError, FencedError


class LedgerError(ToolOrchestraError):
    """The database refused a statement: a fault of ours, not of the caller or of the connection."""

    code = "ledger_error"


class DuplicateRunError(ConflictError):
    """A run with this id or idempotency key exists."""

    code = "duplicate_run"


@contextmanager
def translated() -> Iterator[None]:
    """Turn errors of psycopg into ours."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error) from error


def translate(error: psycopg.Error) -> ToolOrchestraError:
    """The error in our terms."""
    own = _own(error)
    if own is not None:
        return own
    match error:
        case pg.UniqueViolation():
            return _duplicate(error)
        case pg.InvalidParameterValue() if 'role "toolorchestra' in _reason(error):
            return UnavailableError(_reason(error), hint="run python -m toolorchestra.ledger migrate")
        case psycopg.OperationalError() | psycopg.InterfaceError():
            return UnavailableError(f"the database is not available: {_reason(error)}", hint="try again")
        case psycopg.DataError():
            return InvalidRequestError(f"a value cannot be stored: {_reason(error)}")
        case _:
            return LedgerError(f"the database refused a statement ({error.sqlstate}): {_reason(error)}")


def denial_from(detail: dict[str, Any], *, hold: str) -> Denial:
    """A refusal as the ``take`` statement describes it."""
    return Denial(
        hold=hold,
        account=detail["account"],
        window=detail["window"],
        limit_nano_usd=detail["lim"],
        spent_nano_usd=detail["spent"],
        held_nano_usd=detail["held"],
        unit=detail["unit"],
    )


def _own(error: psycopg.Error) -> ToolOrchestraError | None:
    match error.sqlstate:
        case "TO001":
            detail = json.loads(error.diag.message_detail or "{}")
            return DeniedError(denial_from(detail, hold=detail["hold"]))
        case "TO002":
            return FencedError(_reason(error))
        case "TO003" | "TO004":
            return LedgerError(_reason(error))
        case _:
            return None


def _duplicate(error: psycopg.Error) -> ToolOrchestraError:
    match error.diag.constraint_name:
        case "events_pkey":
            return FencedError("another process went on with this run")
        case "runs_idempotency" | "runs_pkey":
            return DuplicateRunError("a run with this id or idempotency key exists", param="Idempotency-Key")
        case name:
            return ConflictError(f"it exists already ({name})")


def _reason(error: psycopg.Error) -> str:
    """The server's primary message, which names no values; client-side errors have only their text."""
    return error.diag.message_primary or str(error) or type(error).__name__
