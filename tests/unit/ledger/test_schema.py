"""Migrations as files: numbered without a gap, and the program's range ends at the newest."""

from toolorchestra.ledger.schema import MAX_VERSION, MIN_VERSION, Migration, migrations


def test_migrations_are_numbered_without_gap_and_end_at_the_known_version():
    versions = [one.version for one in migrations()]
    assert versions == list(range(1, len(versions) + 1))
    assert versions[-1] == MAX_VERSION
    assert MIN_VERSION <= MAX_VERSION


def test_every_migration_says_what_it_is_for():
    assert all(one.text.startswith("-- ") for one in migrations())


def test_a_migration_that_contracts_names_the_programs_that_go_on():
    assert (
        Migration(8, "drop", "-- Nobody reads this any more.\n-- needs programs that know schema 7\nDROP TABLE x;").needs == 7
    )
    assert Migration(8, "add", "-- A table.\nCREATE TABLE x ();").needs == 0
    assert all(one.needs < one.version for one in migrations())
