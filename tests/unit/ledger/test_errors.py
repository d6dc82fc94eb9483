"""PostgreSQL's errors in our terms, without values of rows."""

import psycopg
import pytest
from psycopg import errors as pg

from toolorchestra.core.errors import ConflictError, InvalidRequestError, UnavailableError
from toolorchestra.ledger.errors import LedgerError, denial_from, translate, translated


@pytest.mark.parametrize(
    ("error", "expected", "retryable"),
    [
        (pg.ConnectionFailure("gone"), UnavailableError, True),
        (pg.DeadlockDetected("deadlock"), UnavailableError, True),
        (pg.QueryCanceled("too slow"), UnavailableError, True),
        (psycopg.InterfaceError("the connection is closed"), UnavailableError, True),
        (psycopg.DataError("NUL"), InvalidRequestError, False),
        (pg.UniqueViolation("twice"), ConflictError, False),
        (pg.UndefinedTable("no such table"), LedgerError, False),
        (pg.InsufficientPrivilege("no"), LedgerError, False),
    ],
)
def test_errors_are_translated_by_what_the_caller_can_do(error, expected, retryable):
    found = translate(error)
    assert type(found) is expected
    assert found.retryable is retryable


def test_the_original_error_stays_as_the_cause():
    with pytest.raises(UnavailableError) as refused, translated():
        raise psycopg.OperationalError("gone")
    assert isinstance(refused.value.__cause__, psycopg.OperationalError)


def test_other_errors_pass():
    with pytest.raises(KeyError), translated():
        raise KeyError("x")


def test_a_denial_is_read_from_its_detail():
    detail = {"account": "t:acme", "window": "day", "lim": 100, "spent": 70, "held": 20, "unit": "nano_usd"}
    denial = denial_from(detail, hold="run1/1/0/1")
    assert (denial.hold, denial.account, denial.window, denial.left_nano_usd) == ("run1/1/0/1", "t:acme", "day", 10)
