"""Preferences: what words plainly say, and rules that no model can talk its way around."""

import pytest

from toolorchestra.core.preferences import (
    cost_cap,
    forbidden,
    matches,
    permitted,
    time_cap_ms,
    wants_best,
    wants_cheap,
    weights_of,
)
from toolorchestra.core.resources.orchestrator import PreferenceSpec, Weights
from toolorchestra.core.testing import a_revision, a_tool, an_expert

FUNCTIONS = {f.name: f for f in a_revision(a_tool("lookup"), an_expert("far", location="outside"), an_expert("near")).functions}


@pytest.mark.parametrize(
    ("words", "cheap", "best"),
    [
        ("cheap if possible", True, False),
        ("please save money", True, False),
        ("a low-cost answer", True, False),
        ("the best answer regardless of cost", False, True),
        ("best quality, please", False, True),
        ("cost does not matter", False, True),
        ("money is no object", False, True),
        ("at any price", False, True),
        ("no matter what it costs", False, True),
        ("as fast as you can", False, False),
        ("in French", False, False),
        (None, False, False),
    ],
)
def test_words_are_read_for_policies_that_cannot_read(words, cheap, best):
    preference = PreferenceSpec(words=words)
    assert wants_cheap(preference) is cheap
    assert wants_best(preference) is best


def test_weights_that_were_set_win_over_words():
    preference = PreferenceSpec(words="cheap", weights=Weights(cost=0.1))
    assert weights_of(preference) == Weights(cost=0.1)
    assert not wants_cheap(preference)
    assert weights_of(PreferenceSpec(words="quick and cheap")) == Weights(accuracy=1.0, cost=0.8, latency=0.8)


@pytest.mark.parametrize(
    ("rules", "allowed"),
    [
        ({}, {"lookup", "far", "near"}),
        ({"allow": ["near"]}, {"near"}),
        ({"deny": ["f*"]}, {"lookup", "near"}),
        ({"allow": ["*"], "deny": ["*"]}, set()),
        ({"inside_only": True}, {"lookup", "near"}),
    ],
)
def test_hard_rules_leave_what_they_allow(rules, allowed):
    preference = PreferenceSpec(**rules)
    assert {name for name, f in FUNCTIONS.items() if permitted(f, preference) is None} == allowed


def test_what_is_no_function_is_bound_by_the_rule_on_data_alone():
    assert forbidden(None, PreferenceSpec(deny=["*"]), inside=False) is None
    assert "inside" in forbidden(None, PreferenceSpec(inside_only=True), inside=False)


@pytest.mark.parametrize(
    ("name", "pattern", "fits"),
    [
        ("search", "search", True),
        ("search__web", "search", True),
        ("searcher", "search", False),
        ("a-b", "a-*", True),
        ("A", "a", False),
    ],
)
def test_a_pattern_covers_a_name_and_its_operations(name, pattern, fits):
    assert matches(name, [pattern]) is fits


def test_the_tightest_cap_counts():
    preference = PreferenceSpec(max_cost="0.01", max_latency="20s")
    assert cost_cap(preference, None, 5, 10**12) == 5
    assert cost_cap(preference, None) == 10_000_000
    assert cost_cap(PreferenceSpec(), None) is None
    assert time_cap_ms(preference, 300_000) == 20_000
    assert time_cap_ms(preference, 10_000) == 10_000
    assert time_cap_ms(PreferenceSpec(), 7) == 7
