"""Sets of worlds are audited, reported, and refused where something is in the way."""

import json
import shutil

import pytest

from toolorchestra.training.toolscale.audit import Audit, audit, faults
from toolorchestra.training.toolscale.contamination import overlaps
from toolorchestra.training.toolscale.errors import InvalidBuildError, UnsoundTasksError
from toolorchestra.training.toolscale.page import BEGIN, END, page_of, put_into, sample_of, task_page
from toolorchestra.training.toolscale.report import make_report, require_sound
from toolorchestra.training.toolscale.worldset import Request, build, read_set, tasks_below, world_with_tasks
from toolorchestra.worlds.answers import tell
from toolorchestra.worlds.errors import InvalidWorldError
from toolorchestra.worlds.loading import load_tasks
from toolorchestra.worlds.values import Kind


def test_the_manifest_names_what_was_built(built_set):
    manifest = json.loads((built_set.folder / "manifest.json").read_text())
    assert (manifest["seed"], manifest["tasks_per_domain"], manifest["wording_model"]) == (5, 24, None)
    railway = manifest["worlds"]["railway"]
    assert railway["tasks"] == 24
    assert railway["attempts"] >= 24
    assert len(railway["content_hash"]) == len(railway["tasks_hash"]) == 32
    assert manifest["held_out"]["railway"]["intents"]


def test_a_built_set_is_sound_and_its_splits_are_clean(built_set):
    require_sound(built_set)
    assert make_report(built_set) == make_report(read_set(built_set.folder))
    report = make_report(built_set)
    assert report["audit"] == dict.fromkeys(report["audit"], 0)
    assert report["total"]["tasks"] == 48 == sum(one["figures"]["tasks"] for one in report["worlds"].values())
    assert report["wording"]["distinct_1"] < report["wording"]["distinct_2"] < report["wording"]["distinct_3"] <= 1
    pairs = {(one["first"], one["second"]): one for one in report["contamination"]}
    assert pairs["train", "heldout-intent"]["shared_pairs"] == 0
    assert pairs["train", "heldout-template"]["shared_golden"] == 0


def test_the_printed_report_says_what_test_shares_with_train_by_design(built_set):
    page = " ".join(page_of(make_report(built_set)).split())
    assert "a figure on `test` says nothing of kinds that are new" in page
    assert "Near copies are kept: 0 of `test` have a similarity of 0.7" in page


def changed(task, **changes):
    return type(task)(**{**{name: getattr(task, name) for name in type(task).model_fields}, **changes})


def test_unsound_tasks_are_counted_by_what_is_wrong_with_them(built_set):
    world = built_set.worlds["railway"]
    task = next(task for task in built_set.tasks["railway"] if task.facts and task.facts[0].kind is Kind.MONEY)
    told = changed(task.user, known={**task.user.known, "told": tell(task.facts[:1], currency="GBP")})
    assert "leaky" in set(faults(world, changed(task, user=told)))
    idle = changed(task, golden=task.golden[:1], facts=())
    assert set(faults(world, idle)) == {"no_op", "echo", "dump"}
    assert audit(world, [task, idle]) == Audit(no_op=1, echo=1, dump=1)
    nowhere = changed(task.facts[0], rows=(("trains", "TR-0"),))
    assert set(faults(world, changed(task, facts=(nowhere,)))) == {"golden_fails"}
    (guessed,) = [changed(task.facts[0], kind="number", value=7)]
    assert "guessable" in set(faults(world, changed(task, facts=(guessed,))))


def test_a_set_with_unsound_tasks_is_refused_by_name(built_set, tmp_path):
    copy = read_set(built_set.folder)
    copy.manifest["worlds"]["railway"]["audit"]["echo"] = 2
    with pytest.raises(UnsoundTasksError, match="2 echo, in railway"):
        require_sound(copy, overlaps([]))


@pytest.mark.parametrize(("change", "field"), [({"count": 0}, "tasks"), ({"jobs": 0}, "jobs")])
def test_what_cannot_be_built_is_named(tmp_path, change, field):
    with pytest.raises(InvalidBuildError, match=field):
        build(Request(tmp_path / "w", ("railway",), **change), lambda _: None)


def test_an_unknown_domain_and_a_folder_of_something_else_are_refused(tmp_path):
    with pytest.raises(InvalidWorldError, match="no domain 'mining'"):
        build(Request(tmp_path / "w", ("mining",)), lambda _: None)
    (tmp_path / "holiday.txt").write_text("mine")
    with pytest.raises(InvalidBuildError, match=r"holiday\.txt is in the way"):
        build(Request(tmp_path, ("railway",), count=2), lambda _: None)
    assert (tmp_path / "holiday.txt").read_text() == "mine"


def test_what_is_refused_leaves_the_earlier_build_as_it_was(built_set, tmp_path):
    folder = shutil.copytree(built_set.folder, tmp_path / "w")
    (folder / "report.md").write_text("read me")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(InvalidBuildError, match="is of another build"):
        build(Request(folder, ("travel",), count=2), lambda _: None)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(("file", "out"), [("w", "w"), ("w", "w/x"), ("w/railway", "w"), ("w/manifest.json/x", "w")])
def test_a_place_where_no_folder_can_be_made_is_named(tmp_path, file, out):
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text("mine")
    with pytest.raises(InvalidBuildError, match=r"^out: .*(cannot be made|is in the way)"):
        build(Request(tmp_path / out, ("railway",), count=2), lambda _: None)
    assert (tmp_path / file).read_text() == "mine"


def test_a_folder_without_a_build_is_named(tmp_path):
    with pytest.raises(InvalidBuildError, match=r"manifest\.json: is no manifest"):
        read_set(tmp_path)


def test_a_world_is_found_by_name_or_folder(built_set):
    world, tasks = world_with_tasks("railway", 2, 5)
    assert len(tasks) == 2
    folder = built_set.folder / "railway"
    again, first = world_with_tasks(str(folder), 3, 0)
    assert again.rows.hash == world.rows.hash
    assert first == list(load_tasks(folder))[:3]
    assert len(tasks_below(built_set.folder)) == 48
    assert len(tasks_below(folder)) == 24


def test_a_sample_is_drawn_by_its_seed_and_printed_for_people(built_set):
    tasks = built_set.all_tasks
    assert sample_of(tasks, 5, 1) == sample_of(tasks, 5, 1) != sample_of(tasks, 5, 2)
    text = task_page(tasks[0])
    assert tasks[0].user.opening.splitlines()[0] in text
    assert all(f"`{one.tool}(" in text for one in tasks[0].golden)


def test_the_report_goes_into_the_place_that_a_page_keeps_for_it(built_set, tmp_path):
    page = tmp_path / "worlds.md"
    page.write_text(f"# Worlds\n\n{BEGIN}\noutdated figures\n{END}\n\nAfter.\n")
    for _ in range(2):
        put_into(page, page_of(make_report(built_set)))
        text = page.read_text()
        assert text.startswith("# Worlds\n")
        assert text.endswith("\n\nAfter.\n")
        assert "outdated" not in text
        assert text.count("### Beside the published data") == 1
    page.write_text("# Worlds\n")
    with pytest.raises(InvalidBuildError, match="no place for the report"):
        put_into(page, "x")
