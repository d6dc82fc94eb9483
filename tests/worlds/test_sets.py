"""Sets of worlds: the same bytes whatever the number of processes and the worlds beside; tags say what is in a task."""

import pytest

from toolorchestra.training.toolscale.making import DONE
from toolorchestra.training.toolscale.page import page_of
from toolorchestra.training.toolscale.report import make_report, save_report
from toolorchestra.training.toolscale.splits import HELD_OUT, SPLITS, TEST, TRAIN
from toolorchestra.training.toolscale.worldset import Request, build


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_bytes_do_not_depend_on_the_number_of_processes(library, tmp_path):
    heard = []
    names = (library.name, "railway")
    for jobs in (1, 2):
        found = build(Request(tmp_path / f"jobs-{jobs}", names, count=4, seed=4, jobs=jobs), heard.append)
        save_report(found, report := make_report(found), page_of(report))
    assert contents(tmp_path / "jobs-1") == contents(tmp_path / "jobs-2")
    assert [news.domain for news in heard if news.stage == DONE].count("railway") == 2


def test_a_world_in_a_set_is_the_same_with_other_worlds_beside_it(built_set, tmp_path):
    alone = build(Request(tmp_path / "one", ("railway",), count=24, seed=5), lambda _: None)
    assert contents(alone.folder / "railway") == contents(built_set.folder / "railway")


def test_an_error_in_a_process_of_its_own_comes_back_with_its_name(library, tmp_path):
    (tmp_path / "domains/toolorchestra").mkdir(parents=True)
    (blocked := tmp_path / "w" / "library.partial").mkdir(parents=True)
    (blocked / "library").write_text("a file where a folder is to be")
    with pytest.raises(OSError, match="library"):
        build(Request(tmp_path / "w", (library.name, "railway"), count=3, jobs=2), lambda _: None)


def test_tags_of_built_tasks_say_what_is_in_them(built_domain):
    built, seen = built_domain("railway"), set()
    division = built.domain.division
    for task in built.tasks:
        parts = [template.rpartition(".") for template in task.template.split("+")]
        intents = [intent in division.intents for intent, _, _ in parts]
        templates = [int(number) in division.templates.get(intent, ()) for intent, _, number in parts]
        assert set(task.split) <= set(SPLITS)
        assert all(intents) == any(intents) == ("heldout-intent" in task.split)
        assert all(templates) == any(templates) == ("heldout-template" in task.split)
        assert (len(set(task.split) & set(HELD_OUT)) == 0) == (set(task.split) <= {TRAIN, TEST})
        seen.update(task.split)
    assert seen == {TRAIN, TEST, "heldout-intent", "heldout-template"}
