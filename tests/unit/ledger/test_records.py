"""What is shown of records never holds a secret or a wrong word."""

from datetime import UTC, datetime

from toolorchestra.ledger.checks import Violation
from toolorchestra.ledger.keys import KeyLimits, KeyRecord, NewKey, Scopes


def test_a_new_key_does_not_show_its_text_in_logs():
    now = datetime(2026, 1, 1, tzinfo=UTC)
    record = KeyRecord("0a1b", "acme", "app", Scopes(), KeyLimits(), now, None, None, None)
    new = NewKey(record, "to_0a1b.secret")
    assert "secret" not in f"{new} {new!r} {[new]}"


def test_a_violation_reads_as_a_sentence():
    start = datetime(2026, 1, 1, tzinfo=UTC)
    one = Violation("over_limit", "t:acme", "nano_usd", "day", start, "spent 5 > 4")
    assert str(one) == "over_limit: t:acme nano_usd per day from 2026-01-01 00:00:00+00:00: spent 5 > 4"
    assert " from ever: " in str(Violation("over_limit", "t:acme", "nano_usd", "total", None, ""))
