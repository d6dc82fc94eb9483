"""A set is accepted when choosing pays and the request tells a part of how to choose; rigged sets are not."""

from dataclasses import replace

import pytest

from toolorchestra.core.pricing import Price
from toolorchestra.training.toolscale.acceptance import accept, estimated_cost
from toolorchestra.training.toolscale.building import build_domain
from toolorchestra.training.toolscale.domain import domain_names, find_domain
from toolorchestra.training.toolscale.qa.building import build_questions
from toolorchestra.worlds.simulation.profiles import Cast, draw_cast

DOMAINS = ("railway", "ecommerce")
CAST = draw_cast(1, fields=DOMAINS)


@pytest.fixture(scope="module")
def tasks():
    return [one for name in DOMAINS for one in build_domain(find_domain(name), seed=1, count=120).tasks]


@pytest.mark.parametrize("seed", [1, 2])
def test_the_first_two_worlds_are_worth_routing_over(tasks, seed):
    found = accept(tasks, draw_cast(seed, fields=DOMAINS), 7)
    assert found.accepted, found.table
    assert found.best_fixed < found.text_router < found.oracle
    assert "accepted" in found.table


@pytest.mark.parametrize("split", ["train", "test"])
def test_all_ten_worlds_are_worth_routing_over_with_every_cast(built_domain, split):
    tasks = [one for name in domain_names() for one in built_domain(name).tasks]
    found = {seed: accept(tasks, draw_cast(seed, split=split), 7) for seed in range(1, 9)}
    assert {seed: one.reasons for seed, one in found.items() if not one.accepted} == {}


def test_questions_are_worth_routing_over():
    found = accept(build_questions(7).questions, draw_cast(1), 7)
    assert found.accepted, found.table


def test_simulated_and_drawn_skills_agree(tasks):
    found = accept(tasks, CAST, 7)
    for name in CAST.names:
        assert abs(found.right[name] - found.simulated[name]) < 3 * 0.5 / len(tasks) ** 0.5


def test_a_set_that_one_expert_dominates_is_rejected(tasks):
    best = replace(CAST.cheapest, skills={}, base=50.0)
    rigged = Cast(1, "train", (best, *CAST.profiles[1:]))
    found = accept(tasks, rigged, 7)
    assert not found.accepted
    assert "points above the best fixed expert" in found.table


def test_a_set_whose_topics_cannot_be_read_is_rejected(tasks):
    vague = [
        one.model_copy(update={"user": one.user.model_copy(update={"opening": "Please do what we agreed on."})})
        for one in tasks
    ]
    found = accept(vague, CAST, 7)
    assert found.closed < 0.3
    assert any("closes" in reason for reason in found.reasons)


def test_a_set_that_one_look_decides_is_rejected(tasks):
    """Experts that are always right on one world and never on the other."""
    pair = [
        replace(CAST.profiles[place], skills={world: 200.0, other: -200.0}, base=0.0, strength=50, price=Price(10**8, 10**9))
        for place, (world, other) in enumerate((DOMAINS, DOMAINS[::-1]))
    ]
    found = accept(tasks, Cast(1, "train", tuple(pair)), 7)
    assert found.closed > 0.8
    assert not found.accepted


def test_figures_are_the_same_again(tasks):
    assert accept(tasks, CAST, 7) == accept(tasks, CAST, 7)
    assert accept(tasks, CAST, 8) != accept(tasks, CAST, 7)


def test_a_longer_task_costs_more(tasks):
    shortest, longest = min(tasks, key=lambda one: len(one.golden)), max(tasks, key=lambda one: len(one.golden))
    assert estimated_cost(longest, CAST.strongest) > estimated_cost(shortest, CAST.strongest) > 0
