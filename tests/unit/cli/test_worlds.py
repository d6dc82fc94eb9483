"""``toolorchestra worlds``: what a person types, reads, and is told when something is wrong."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from tests.support.library import LIBRARY, task
from toolorchestra.cli.main import FAILURE, USAGE, run
from toolorchestra.core.resources import parse_resource
from toolorchestra.training.toolscale.page import BEGIN, END
from toolorchestra.worlds.tasks import write_line


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "worlds"
    assert run(["worlds", "build", "--out", str(folder), "--domains", "railway", "--tasks", "6", "--jobs", "1"]) == 0
    return folder


@pytest.fixture
def library(tmp_path):
    def make(*tasks):
        shutil.copytree(LIBRARY, tmp_path / "library")
        (tmp_path / "library" / "tasks.jsonl").write_text("".join(map(write_line, tasks)))
        return str(tmp_path / "library")

    return make


def test_a_build_leaves_worlds_manifest_and_report(built):
    assert {path.name for path in built.iterdir()} == {"railway", "manifest.json", "report.json", "report.md"}
    assert json.loads((built / "report.json").read_text())["total"]["tasks"] == 6


def test_questions_are_built_with_their_splits(tmp_path, capsys):
    path = tmp_path / "new" / "qa.jsonl"
    assert run(["worlds", "questions", "--out", str(path), "-n", "40"]) == 0
    splits = [json.loads(line)["split"] for line in path.read_text().splitlines()]
    told = " ".join(capsys.readouterr().err.split())
    assert f"{splits.count(['train'])} train" in told
    assert f"{splits.count(['heldout-template'])} heldout-template" in told


def test_the_report_goes_to_the_terminal_as_json_or_into_a_page(built, tmp_path, capsys):
    assert run(["worlds", "report", str(built)]) == 0
    assert "### Beside the published data" in capsys.readouterr().out
    assert run(["worlds", "report", str(built), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["audit"]["echo"] == 0
    page = tmp_path / "page.md"
    page.write_text(f"# Mine\n{BEGIN}\n{END}\n")
    assert run(["worlds", "report", str(built), "--docs", str(page), "-n", "4"]) == 0
    assert capsys.readouterr().out == ""
    assert page.read_text().count("To be told:") == 4


def test_sampled_tasks_can_be_read(built, capsys):
    assert run(["worlds", "sample", str(built), "-n", "2", "--seed", "7"]) == 0
    first = capsys.readouterr().out
    assert first.count("To be told:") == 2
    assert run(["worlds", "sample", str(built / "railway"), "-n", "2", "--seed", "7"]) == 0
    assert capsys.readouterr().out == first


def test_a_world_is_shown_with_tables_tools_policy_and_tasks(built, capsys):
    assert run(["worlds", "show", str(built / "railway"), "--examples", "1"]) == 0
    shown = capsys.readouterr().out
    for word in ("Northmark Rail", "bookings", "cancel_booking", "destructive", "# Northmark Rail", "To be told:"):
        assert word in shown


def test_shipped_worlds_are_listed(capsys):
    assert run(["worlds", "list", "--json"]) == 0
    names = [one["name"] for one in json.loads(capsys.readouterr().out)]
    assert names == sorted(names)
    assert {"railway", "ecommerce"} <= set(names)


def test_manifests_of_a_worlds_tools_are_valid(built, capsys):
    assert run(["worlds", "tools", str(built / "railway")]) == 0
    found = [parse_resource(one, source="worlds tools") for one in yaml.safe_load_all(capsys.readouterr().out)]
    assert len(found) >= 20
    assert {one.spec.plugin.config["world"] for one in found} == {str((built / "railway").resolve())}
    assert run(["worlds", "tools", str(built / "railway"), "--mcp", "http://worlds:9000/mcp"]) == 0
    (one,) = yaml.safe_load_all(capsys.readouterr().out)
    assert parse_resource(one, source="worlds tools").spec.mcp.url == "http://worlds:9000/mcp"


def test_a_good_world_of_ones_own_passes_the_check(library, capsys):
    assert run(["worlds", "check", library(task())]) == 0
    assert "1 tasks, 0 of them faulty" in capsys.readouterr().out


def test_a_faulty_one_fails_with_line_field_and_fix(library, capsys):
    assert run(["worlds", "check", library(task(), task(id="other", world="cinema"))]) == FAILURE
    said = capsys.readouterr().out
    assert "tasks.jsonl:2: world: is 'cinema'" in said
    assert "fix: write 'library', the name in world.yaml" in said


def test_a_broken_folder_is_named_with_file_and_fix(library, capsys):
    folder = library(task())
    with Path(folder, "rows", "books.jsonl").open("a") as rows:
        rows.write('{"book_id": "BO-X"}\n')
    assert run(["worlds", "check", folder]) == USAGE
    assert "books.jsonl:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["build", "--domains", "mining"], "no domain 'mining'"),
        (["build", "--domains", "railway", "--tasks", "0"], "tasks: 0 is too few"),
        (["build", "--llm-url", "http://127.0.0.1:1/v1"], "--llm-model is missing"),
        (["report", "nowhere"], "is no manifest of a build"),
        (["show", "atlantis"], "there is no such file"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["worlds", *words]) == USAGE
    assert said in " ".join(capsys.readouterr().err.split())
