"""SQL in files: named, described, all of it used, and nothing asked for that is not there."""

import re
from importlib import resources
from pathlib import Path

import pytest

from toolorchestra.ledger import statements as module
from toolorchestra.ledger.connection import _positional
from toolorchestra.ledger.statements import statements, step

SOURCES = Path(module.__file__).parent
AREAS = sorted(path.stem for path in (SOURCES / "sql").glob("*.sql"))
USES = re.compile(r'(?:step|sql)\(\s*"([a-z_]+)",\s*"([a-z_]+)"')


def used() -> set[tuple[str, str]]:
    found = set()
    for path in SOURCES.glob("*.py"):
        found |= set(USES.findall(path.read_text()))
    return found


def test_every_area_has_a_file_in_the_package():
    assert AREAS == [
        "alerts", "calls", "checks", "keys", "logins", "money", "policies", "runs", "sandboxes", "session", "usage",
    ]  # fmt: skip
    assert all((resources.files("toolorchestra.ledger") / "sql" / f"{area}.sql").is_file() for area in AREAS)


@pytest.mark.parametrize("area", AREAS)
def test_every_statement_has_a_sentence_and_one_text(area):
    found = statements(area)
    text = (SOURCES / "sql" / f"{area}.sql").read_text()
    assert len(found) == len(re.findall(r"^-- [a-z_]+ --$", text, re.MULTILINE)) > 0
    for statement in found.values():
        assert statement.description.endswith("."), statement.name
        assert statement.text
        assert not statement.text.rstrip().endswith(";"), statement.name


def test_code_and_files_name_the_same_statements():
    there = {(area, name) for area in AREAS if area != "checks" for name in statements(area)}
    preparation = {("session", f"migrate_{name}") for name in ("lock", "bootstrap", "history", "needs", "path", "applied")}
    assert used() | preparation == there


def test_an_unknown_statement_is_an_error():
    with pytest.raises(KeyError):
        step("money", "print")


def test_parameters_get_numbers_in_order_of_appearance():
    assert _positional("SELECT %(b)s, %(a)s, %(b)s, 5 %% 2, x::text") == (b"SELECT $1, $2, $1, 5 % 2, x::text", ("b", "a"))


def test_a_comment_between_two_parts_of_a_statement_belongs_to_it():
    assert "-- what is still reserved" in statements("money")["settle"].text
