"""Migrations as files: numbered without a gap, and the program's range ends at the newest."""

from toolorchestra.ledger.schema import MAX_VERSION, MIN_VERSION, migrations


def test_migrations_are_numbered_without_gap_and_end_at_the_known_version():
    versions = [one.version for one in migrations()]
    assert versions == list(range(1, len(versions) + 1))
    assert versions[-1] == MAX_VERSION
    assert MIN_VERSION <= MAX_VERSION


def test_every_migration_says_what_it_is_for():
    assert all(one.text.startswith("-- ") for one in migrations())
