"""Scores of obeying: the reward of the product, the score of the paper with its defects shown, and the dial."""

import pytest

from toolorchestra.core.resources.orchestrator import Weights
from toolorchestra.training.evaluate.errors import InvalidPlanError
from toolorchestra.training.evaluate.preferences import dials, paper_score, preference_scores
from toolorchestra.training.evaluate.records import Ceiling
from toolorchestra.training.evaluate.testing import an_episode
from toolorchestra.worlds.statistics import Drawing

DRAWING = Drawing(resamples=200)
CEILING = Ceiling(cost_nano_usd=4_000_000, latency_ms=10_000)
THRIFTY = Weights(accuracy=1.0, cost=1.0)


def wished(weights=THRIFTY, **fields):
    return an_episode(preference=weights, ceiling=CEILING, **fields)


def scores(*episodes, **options):
    return preference_scores(episodes, DRAWING, name="x", **options)


def test_right_at_a_quarter_of_the_ceiling_scores_seven_eighths():
    """(w_acc·1 + w_cost·(1 − ¼)) / 2."""
    assert scores(wished(cost_nano_usd=1_000_000)).reward.value == pytest.approx(0.875)


def test_wrong_scores_nothing_but_may_still_have_obeyed():
    found = scores(wished(cost_nano_usd=1_000_000, success=False))
    assert found.reward.value == 0
    assert found.adherence.value == pytest.approx(0.75)


def test_an_avoided_tool_counts_unless_it_was_not_offered():
    avoid = Weights(tools={"far": -1.0, "gone": 1.0})
    assert scores(wished(avoid, offered=("far",), calls={})).adherence.value == 1.0
    assert scores(wished(avoid, calls={"far": 2})).adherence.value == 0.0
    assert scores(wished(Weights(tools={"gone": 1.0}), offered=("far",))).adherence.value is None


def test_where_no_wish_is_on_offer_being_right_is_all():
    nothing_left = Weights(accuracy=0.0, tools={"gone": 1.0})
    assert scores(wished(nothing_left, offered=("far",))).reward.value == 1.0
    assert scores(wished(nothing_left, offered=("far",), success=False)).reward.value == 0.0


def test_episodes_without_a_wish_are_left_out():
    assert scores(an_episode(), wished(Weights())) is None
    assert scores(an_episode(), wished(task="t1")).reward.n == 1


def test_a_weight_without_a_ceiling_is_an_error_that_names_the_task():
    with pytest.raises(InvalidPlanError, match="'t0' weighs cost or latency but has no ceiling"):
        scores(an_episode(preference=THRIFTY))


def test_the_papers_score_by_hand():
    """1·1 + 0.5·(4 $/2 $) + 1·(3 calls/max(1, 2))."""
    weights = Weights(accuracy=1.0, cost=0.5, tools={"a": 1.0, "b": -1.0})
    mine = wished(weights, cost_nano_usd=2_000_000_000, calls={"a": 3, "b": 7})
    untrained = an_episode(cost_nano_usd=4_000_000_000, calls={"a": 2})
    assert paper_score(mine, untrained) == pytest.approx(1 + 1 + 1.5)
    assert paper_score(mine.model_copy(update={"success": False}), untrained) == 0


def test_the_papers_score_cannot_tell_costs_below_a_dollar_apart():
    untrained = an_episode(cost_nano_usd=500_000_000)
    cheap, dear = (paper_score(wished(cost_nano_usd=cost), untrained) for cost in (1_000, 900_000_000))
    assert cheap == dear


def test_the_papers_score_needs_an_untrained_manager_on_the_same_task():
    assert scores(wished()).paper is None
    assert scores(wished(), untrained=[an_episode(task="other")]).paper is None
    assert scores(wished(), untrained=[an_episode(policy="raw")]).paper.n == 1


def dial(*costs):
    """The same eight tasks under rising weights of cost."""
    levels = [n / (len(costs) - 1) for n in range(len(costs))]
    return [
        wished(Weights(cost=level), task=f"t{task}", cluster=f"c{task}", cost_nano_usd=int(cost * 1_000_000) + task)
        for level, cost in zip(levels, costs, strict=True)
        for task in range(8)
    ]


def test_a_dial_that_is_obeyed_is_monotone():
    (found,) = dials(dial(4, 3, 1), DRAWING, name="x")
    assert (found.aspect, found.monotone, found.violations) == ("cost", True, 0)
    assert [(step.low, step.high) for step in found.steps] == [(0.0, 0.5), (0.5, 1.0)]
    assert found.steps[0].ratio.value == pytest.approx(0.75, abs=1e-5)


def test_a_dial_that_turns_the_wrong_way_is_a_violation():
    (found,) = dials(dial(1, 3, 1), DRAWING, name="x")
    assert (found.monotone, found.violations) == (False, 1)


def test_weights_that_only_other_tasks_know_stand_between_no_two_of_a_task():
    """Worlds weigh what they like; the suite of preferences asks each task under its own two weights."""
    others = [wished(Weights(accuracy=1.0, cost=level), suite="worlds", task=f"w{level}") for level in (0.3, 0.5, 0.9)]
    asked = [
        wished(Weights(accuracy=1.0, cost=level), suite="preferences", cost_nano_usd=cost)
        for level, cost in ((0.0, 4_000_000), (0.8, 1_000_000))
    ]
    (found,) = dials([*others, *asked], DRAWING, name="x")
    (step,) = found.steps
    assert (step.low, step.high, step.ratio.value, step.ratio.n) == (0.0, 0.8, 0.25, 1)


def test_without_two_levels_there_is_no_dial():
    assert dials([wished()], DRAWING, name="x") == ()
