"""The repository keeps its own rules: locks without addresses, files that parse, a line of help for every target."""

import re
from pathlib import Path

import pytest

from infra import check_files

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_pins_everything_by_hash_and_names_no_address(lock):
    text = (ROOT / lock).read_text()
    entries = re.split(r"\n(?=\S)", text.strip())
    assert [entry for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []
    assert "://" not in text


def test_the_runtime_lock_has_no_torch():
    assert re.findall(r"^(torch|nvidia[a-z-]*|pytest)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE) == []


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.yaml", "a: [1\n", "cannot be parsed"),
        ("a.toml", "a = \n", "cannot be parsed"),
        ("a.json", "{\n", "cannot be parsed"),
        ("a.md", "<" * 7 + " HEAD\n", "leftovers of a merge"),
        ("a.md", "no end", "newline"),
    ],
)
def test_a_bad_file_is_found(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    (problem,) = check_files.problems(tmp_path / name)
    assert said in problem


@pytest.mark.parametrize(
    ("name", "text"), [("a.yaml", "a: !local 1\n---\nb: 2\n"), ("a.md", ""), ("templates/a.yaml", "{{ x }}\n")]
)
def test_a_good_file_passes(tmp_path, name, text):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    assert list(check_files.problems(tmp_path / name)) == []


def test_every_target_of_the_makefile_is_explained_or_internal():
    targets = re.findall(r"^([a-z-]+):(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert [name for name, rest in targets if "## " not in rest] == ["dev", "help"]
