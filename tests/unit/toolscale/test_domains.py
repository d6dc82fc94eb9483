"""A new domain is a folder: nothing else changes, and it is built and verified like those shipped."""

import pytest

from tests.support.library import LIBRARY
from toolorchestra.training.toolscale.building import build_domain, write_domain
from toolorchestra.training.toolscale.domain import domain_names, find_domain
from toolorchestra.worlds.check import check
from toolorchestra.worlds.errors import InvalidWorldError
from toolorchestra.worlds.loading import load_tasks, load_world


def test_a_folder_on_the_path_is_a_domain(library):
    assert "library" in domain_names()
    assert library.world == LIBRARY


def test_it_is_built_verified_written_and_read(library, tmp_path):
    built = build_domain(library, seed=5, count=20)
    assert len(built.tasks) == 20
    folder = write_domain(built, tmp_path)
    world = load_world(folder)
    assert world.rows.hash == built.world.rows.hash
    assert tuple(load_tasks(folder)) == tuple(built.tasks)
    assert {task.intent.split("+")[0] for task in built.tasks} == {"borrow", "bring_back_all"}
    assert not any(check(world, task, (), task.user.opening).success for task in built.tasks)


def test_it_is_the_same_again(library):
    one, two, other = (build_domain(library, seed=seed, count=12) for seed in (5, 5, 6))
    assert (one.tasks, one.drops, one.world.rows.hash) == (two.tasks, two.drops, two.world.rows.hash)
    assert one.tasks != other.tasks


def test_a_domain_that_nobody_wrote_is_named_with_those_there_are():
    with pytest.raises(InvalidWorldError, match=r"no domain 'mining'.*railway"):
        find_domain("mining")
