"""A broken world folder is refused with the file, the field and the fix."""

import json
import shutil

import pytest

from tests.support.library import LIBRARY, task
from toolorchestra.worlds.errors import BrokenToolError, InvalidWorldError
from toolorchestra.worlds.loading import SHIPPED, load_definition, load_tasks, load_world, worlds_in
from toolorchestra.worlds.session import Session
from toolorchestra.worlds.tasks import write_line


@pytest.fixture
def folder(tmp_path):
    return shutil.copytree(LIBRARY, tmp_path / "library")


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("world.yaml", "type: money, description: What", "type: cash, description: What", "tables.members.columns.fines.type"),
        ("world.yaml", "ref: books", "ref: bookz", "no table 'bookz'"),
        ("world.yaml", "key: loan_id", "key: loan", "there is no column 'loan'"),
        ("world.yaml", ", values: [open, returned]", "", "tables.loans.columns.status: values"),
        ("world.yaml", "tables:", "tables: [", "not valid YAML"),
        ("world.yaml", 'clock: "2026-03-02T09:00"', "clock: noon", "clock"),
        ("rows/loans.jsonl", '"BO-3"', '"BO-9"', "loans.jsonl:1: book_id: there is no 'BO-9' in books"),
        (
            "rows/loans.jsonl",
            '"2026-03-20"',
            '"2026-02-30"',
            "loans.jsonl:1: due: '2026-02-30' does not fit; it must be a date",
        ),
        ("rows/loans.jsonl", '"open"', '"lost"', "one of open, returned"),
        ("rows/members.jsonl", '"fines": 350', '"fines": 3.5', "members.jsonl:1: fines: 3.5 does not fit; it must be a whole"),
        ("rows/members.jsonl", "ME-200", "ME-100", "members.jsonl:2: member_id: 'ME-100' stands twice"),
        ("rows/members.jsonl", "bram@", "ada@", "email: 'ada@post.example' stands twice"),
        ("rows/members.jsonl", ', "fines": 350', "", "fines: is missing"),
        ("rows/members.jsonl", '"fines": 350', '"fines": 350, "age": 3', "age: the table has no such column"),
        ("rows/members.jsonl", "{", "", "members.jsonl:1: not valid JSON"),
        (
            "tools.py",
            '"members", by="email"',
            '"people", by="email"',
            "tools.py: tool 'find_member': there is no table 'people'",
        ),
        ("tools.py", 'by="email"', 'by="mail"', "there is no column 'mail'"),
        ("tools.py", "    amount: How much, e.g. 2.50\n", "", "argument 'amount' has no description"),
        ("tools.py", "TOOLS = (", "TULLS = (", "has no TOOLS"),
        ("tools.py", '"get_member"', '"find_member"', "'find_member' stands twice"),
        ("tools.py", "pay_fine,\n)", "cents,\n)", "is no tool"),
        ("tools.py", "from pydantic", "from pidantic", "ModuleNotFoundError"),
        ("tools.py", "TOOLS = (", "import sys\n\nsys.exit(0)\nTOOLS = (", "tools.py: SystemExit: 0"),
        ("tools.py", "amount: Amount", "amount", "tool 'pay_fine': argument 'amount' has no type"),
        ("tools.py", "amount: Amount", "amount: 'Amont'", "tool 'pay_fine': NameError"),
        ("rows/members.jsonl", "{", '{"x": NaN, ', "members.jsonl:1: not valid JSON"),
        ("rows/members.jsonl", "ada@", "\\ud800@", "members.jsonl:1: not valid JSON"),
        ("world.yaml", "title:", "titel: x\ntitle:", "titel: unknown field; check its spelling or remove it"),
        ("world.yaml", "title:", "titel:", "title: required; add it"),
    ],
)
def test_mistakes_are_named(folder, file, old, new, said):
    edit(folder / file, old, new)
    with pytest.raises(InvalidWorldError) as caught:
        load_world(folder)
    assert said in str(caught.value)
    assert file.rpartition("/")[2] in str(caught.value)


def read_all(folder):
    return load_world(folder), list(load_tasks(folder))


@pytest.mark.parametrize("file", ["rows/members.jsonl", "tasks.jsonl", "policy.md", "world.yaml"])
def test_a_file_of_another_encoding_is_named_with_its_line(folder, file):
    first = (folder / file).read_bytes().partition(b"\n")[0] if (folder / file).exists() else write_line(task()).encode()
    (folder / file).write_bytes(first.rstrip() + b"\n# caf\xe9\n")
    with pytest.raises(InvalidWorldError, match=r"(?i)utf-8") as caught:
        read_all(folder)
    assert str(folder / file) in str(caught.value)
    assert (f"{file}:2: byte 0xe9 at place 6" in str(caught.value)) == file.endswith(".jsonl")


@pytest.mark.parametrize("file", ["rows/members.jsonl", "rows/other.jsonl", "tasks.jsonl", "policy.md", "rules.py"])
def test_a_folder_in_the_place_of_a_file_is_named(folder, file):
    (folder / file).unlink(missing_ok=True)
    (folder / file).mkdir()
    with pytest.raises(InvalidWorldError, match=f"{file}: cannot be read: Is a directory"):
        read_all(folder)


def test_a_spec_that_is_no_mapping_is_told_so_in_plain_words(folder):
    (folder / "world.yaml").write_text("- a\n- list\n")
    with pytest.raises(InvalidWorldError, match=r"world\.yaml: must be a mapping of fields") as caught:
        load_world(folder)
    assert "write-a-world.md" in (caught.value.hint or "")


def test_a_missing_table_and_a_stray_one_are_named(folder):
    (folder / "rows" / "loans.jsonl").rename(folder / "rows" / "lones.jsonl")
    with pytest.raises(InvalidWorldError, match=r"loans\.jsonl: there is no such file"):
        load_world(folder)
    shutil.copy(LIBRARY / "rows" / "loans.jsonl", folder / "rows")
    with pytest.raises(InvalidWorldError, match="there is no table 'lones'"):
        load_world(folder)


def test_a_folder_without_a_world_names_the_shipped_ones(tmp_path):
    with pytest.raises(InvalidWorldError, match="railway"):
        load_world(tmp_path)


def test_the_same_files_are_the_same_world_and_other_files_another(folder):
    world = load_world(folder)
    assert load_world(folder) is world
    edit(folder / "rows" / "members.jsonl", '"fines": 350', '"fines": 351')
    assert load_world(folder).rows.hash != world.rows.hash


def test_tasks_are_read_one_by_one_and_a_broken_line_is_named(folder):
    lines = [write_line(task()), json.dumps({**json.loads(write_line(task())), "golden": []}) + "\n"]
    (folder / "tasks.jsonl").write_text("".join(lines))
    tasks = load_tasks(folder)
    assert next(tasks) == task()
    with pytest.raises(InvalidWorldError, match=r"tasks\.jsonl:2: golden"):
        next(tasks)


@pytest.mark.parametrize(
    ("kind", "value", "must"),
    [
        ("money", "6.17", "a whole number of cents, such as 617 for 6.17"),
        ("money", 6.17, "a whole number of cents, such as 617 for 6.17"),
        ("money", True, "a whole number of cents, such as 617 for 6.17"),
        ("number", "six", "a number, such as 12 or 2.5"),
        ("date", "14 March 2026", "a date such as 2026-03-14"),
        ("datetime", "2026-03-14", "a date and time such as 2026-03-14T08:05"),
        ("yesno", "yes", "true or false"),
        ("id", 20417, "text"),
        ("text", "", "write what the answer must say"),
    ],
)
def test_a_fact_of_another_kind_is_named_by_line_and_field(folder, kind, value, must):
    written = json.loads(write_line(task()))
    written["facts"][1] |= {"kind": kind, "value": value}
    (folder / "tasks.jsonl").write_text(write_line(task()) + json.dumps(written) + "\n")
    with pytest.raises(InvalidWorldError, match=rf"tasks\.jsonl:2: facts\.1\.value: .*{must}, for the kind {kind}"):
        list(load_tasks(folder))


def test_a_task_has_an_id(folder):
    (folder / "tasks.jsonl").write_text(write_line(task()).replace("library-1", ""))
    with pytest.raises(InvalidWorldError, match=r"tasks\.jsonl:1: id: must not be empty"):
        list(load_tasks(folder))


def test_a_tool_that_ends_the_program_is_an_error_of_the_world(folder):
    edit(folder / "tools.py", '    member = db.get("members", member_id)', "    raise SystemExit(0)")
    with pytest.raises(BrokenToolError, match="'pay_fine' failed: SystemExit"):
        Session(load_world(folder)).call("pay_fine", {"member_id": "ME-100", "amount": "1.00"})


@pytest.mark.parametrize("name", sorted(worlds_in(SHIPPED)))
def test_shipped_worlds_have_tools_that_say_what_they_do(name):
    definition = load_definition(name)
    assert definition.policy
    assert len(definition.tools) >= 20
    for tool in definition.tools.values():
        assert tool.description
        assert all(about.get("description") for about in tool.parameters["properties"].values())


def test_a_tool_that_fails_by_mistake_is_an_error_of_the_world_and_changes_nothing(folder):
    edit(folder / "tools.py", 'fines=member["fines"] - cents(amount)', 'fines="none"')
    session = Session(load_world(folder))
    with pytest.raises(BrokenToolError, match=r"pay_fine.*fines: 'none' does not fit"):
        session.call("pay_fine", {"member_id": "ME-100", "amount": "1.00"})
    assert session.state_hash == session.world.rows.hash


def test_a_tool_that_writes_against_its_word_is_an_error_of_the_world(folder):
    edit(folder / "tools.py", 'side_effects="destructive"', 'side_effects="readOnly"')
    session = Session(load_world(folder))
    with pytest.raises(BrokenToolError, match="readOnly but writes"):
        session.call("pay_fine", {"member_id": "ME-100", "amount": "1.00"})
    assert session.state_hash == session.world.rows.hash


def test_tools_may_stand_in_several_modules_of_the_folder(folder):
    edit(folder / "tools.py", "TOOLS = (", "from .rules import MOST\n\nTOOLS = (")
    (folder / "rules.py").write_text("MOST = 3\n")
    before = load_world(folder)
    (folder / "rules.py").write_text("MOST = 4\n")
    after = load_world(folder)
    assert before.content_hash != after.content_hash
    (folder / "rules.py").write_text("LEAST = 4\n")
    with pytest.raises(InvalidWorldError, match="cannot import name 'MOST'"):
        load_world(folder)
