"""Intervals hold the truth as often as they say, p-values and corrections equal known values, and the gate says why."""

import math

import numpy as np
import pytest

from toolorchestra.worlds.statistics import (
    Drawing,
    Gate,
    Interval,
    Part,
    expanded_tail,
    holm,
    randomisation_p,
    ratio_of_sums,
    student_quantile,
)

DRAWING = Drawing(resamples=400)
SIMULATIONS = 400


def clustered_shares(generator: np.random.Generator, clusters: int) -> list[Part]:
    """Yes-or-no outcomes whose clusters differ in size and in rate; the true share is exactly one half."""
    parts = []
    for cluster in range(clusters):
        rate, size = generator.beta(2, 2), generator.integers(3, 15)
        parts += [Part(f"c{cluster}", float(outcome)) for outcome in generator.random(size) < rate]
    return parts


@pytest.mark.parametrize("clusters", [12, 50])
def test_intervals_of_nominal_95_percent_hold_the_truth_as_often_as_that(clusters):
    generator = np.random.default_rng(20_26 + clusters)
    held = 0
    for simulation in range(SIMULATIONS):
        interval = ratio_of_sums(clustered_shares(generator, clusters), DRAWING, name=str(simulation))
        held += interval.low <= 0.5 <= interval.high
    assert 0.93 <= held / SIMULATIONS <= 0.97


def test_an_interval_that_forgets_the_clusters_would_miss_the_truth_too_often():
    generator = np.random.default_rng(5)
    held = 0
    for simulation in range(200):
        parts = [Part(str(n), part.above) for n, part in enumerate(clustered_shares(generator, 50))]
        interval = ratio_of_sums(parts, Drawing(resamples=200), name=str(simulation))
        held += interval.low <= 0.5 <= interval.high
    assert held / 200 < 0.92


def test_intervals_of_ratios_of_sums_hold_the_truth():
    generator = np.random.default_rng(11)
    held = 0
    for simulation in range(SIMULATIONS):
        parts = []
        for cluster in range(45):
            scale = generator.lognormal(0, 0.6)
            parts += [Part(str(cluster), 0.4 * scale * generator.gamma(4, 0.25), scale) for _ in range(6)]
        interval = ratio_of_sums(parts, DRAWING, name=str(simulation))
        held += interval.low <= 0.4 <= interval.high
    assert 0.93 <= held / SIMULATIONS <= 0.97


def test_a_ratio_is_of_sums_not_the_mean_of_ratios():
    parts = [Part("a", 1, 1), Part("b", 1, 9)]
    assert ratio_of_sums(parts, DRAWING, name="x").value == pytest.approx(0.2)


def test_one_cluster_or_an_empty_denominator_has_no_bounds():
    assert ratio_of_sums([Part("a", 1), Part("a", 0)], DRAWING, name="x") == Interval(0.5, None, None, 2, 1)
    assert ratio_of_sums([Part("a", 1, 0), Part("b", 2, 0)], DRAWING, name="x") == Interval(None, None, None, 2, 2)
    assert ratio_of_sums([], DRAWING, name="x") == Interval(None, None, None, 0, 0)


def test_a_ratio_whose_denominator_may_vanish_has_no_upper_bound():
    parts = [Part("a", 1, 1), *(Part(str(n), 1, 0) for n in range(4))]
    interval = ratio_of_sums(parts, DRAWING, name="x")
    assert interval.value == 5
    assert interval.low is not None
    assert interval.high is None


def test_all_right_or_all_wrong_is_exact_and_still_not_certain():
    """As many clusters that all agree allow: 1 − 0.025^(1/40) is the exact bound of Clopper and Pearson."""
    right = ratio_of_sums([Part(str(n), 1) for n in range(40)], DRAWING, name="x", bounded=True)
    wrong = ratio_of_sums([Part(str(n), 0) for n in range(40)], DRAWING, name="x", bounded=True)
    assert (right.value, right.high, wrong.value, wrong.low) == (1.0, 1.0, 0.0, 0.0)
    assert right.low == pytest.approx(1 - 0.08810, abs=1e-5)
    assert wrong.high == pytest.approx(0.08810, abs=1e-5)


def test_figures_depend_on_the_seed_and_not_on_the_order():
    parts = clustered_shares(np.random.default_rng(1), 20)
    first = ratio_of_sums(parts, DRAWING, name="x")
    assert ratio_of_sums(parts[::-1], DRAWING, name="x") == first
    assert ratio_of_sums(parts, Drawing(seed=1, resamples=400), name="x") != first


@pytest.mark.parametrize(("freedom", "quantile"), [(1, -12.7062), (4, -2.7764), (9, -2.2622), (39, -2.0227), (1_000, -1.9623)])
def test_student_quantiles_are_those_of_the_tables(freedom, quantile):
    assert student_quantile(0.025, freedom) == pytest.approx(quantile, rel=2e-3)


def test_the_tail_grows_thinner_with_fewer_clusters():
    assert expanded_tail(0.025, 5) < expanded_tail(0.025, 50) < 0.025


def test_flipping_signs_of_four_equal_differences_gives_one_in_eight():
    """Of the 16 ways to flip four signs two reach the sum: p = 2/16."""
    parts = [Part(str(n), 1.0) for n in range(4)]
    assert randomisation_p(parts, Drawing(resamples=4_000), name="x") == pytest.approx(0.125, abs=0.02)


def test_policies_that_do_not_differ_are_not_told_apart():
    assert randomisation_p([Part(str(n), 0.0) for n in range(9)], DRAWING, name="x") == 1.0


def test_p_values_are_uniform_where_nothing_differs():
    generator = np.random.default_rng(3)
    below = 0
    for simulation in range(300):
        parts = [Part(str(n), float(value)) for n, value in enumerate(generator.normal(size=30))]
        below += randomisation_p(parts, Drawing(resamples=200), name=str(simulation)) <= 0.05
    assert below / 300 <= 0.08


def test_holm_by_hand():
    """0.01·4, then 0.02·3, then 0.03·2, then max(0.06, 0.04·1)."""
    adjusted = holm({"b": 0.02, "a": 0.01, "d": 0.04, "c": 0.03})
    assert adjusted == pytest.approx({"a": 0.04, "b": 0.06, "c": 0.06, "d": 0.06})
    assert holm({"a": 0.7, "b": 0.6}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


def good(**change):
    return Interval(**({"value": 0.01, "low": -0.02, "high": 0.04, "n": 400, "clusters": 40} | change))


CHEAP = Interval(0.5, 0.4, 0.6, 400, 40)


@pytest.mark.parametrize(
    ("success", "cost", "reason"),
    [
        (good(n=399), CHEAP, "399 tasks of at least 400"),
        (good(clusters=39), CHEAP, "39 clusters of at least 40"),
        (good(low=-0.03), CHEAP, "success may be lower by 3.0 points; the limit is 3.0 points"),
        (good(low=None), CHEAP, "success may be lower by an unknown amount; the limit is 3.0 points"),
        (good(), Interval(0.9, 0.8, 1.0, 400, 40), "the cost may be 1.00 times the old one; the limit is 1.00 times"),
        (
            good(),
            Interval(0.9, 0.8, None, 400, 40),
            "the cost may be an unknown multiple of the old one; the limit is 1.00 times",
        ),
    ],
)
def test_the_gate_says_each_reason(success, cost, reason):
    assert Gate().failures(success=success, cost_ratio=cost) == (reason,)


def test_the_gate_opens_when_all_holds():
    assert Gate().failures(success=good(), cost_ratio=CHEAP) == ()
    assert math.isclose(Gate().delta, 0.03)
