"""A canary may be looked at after every run: equal policies are not told apart, bad ones are, errors and spend end it at once."""

from random import Random

import pytest

from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.training.evaluate.canary import Action, Arm, Canary, CanaryRules, assign


def play(seed: int, *, current: float, canary: float, rules: CanaryRules, runs: int = 1_500) -> Action:
    """Each unit has a rate of its own around the arm's, and one or two runs."""
    draw, test = Random(seed), Canary(rules)
    for number in range(runs):
        arm = assign(f"u{number}", salt=str(seed), share=0.5)
        rate = (canary if arm is Arm.CANARY else current) + draw.uniform(-0.2, 0.2)
        for _ in range(draw.randint(1, 2)):
            decision = test.observe(arm, f"u{number}", success=draw.random() < rate)
            if decision.action is not Action.CONTINUE:
                return decision.action
    return Action.CONTINUE


def test_looking_after_every_run_keeps_the_level():
    """At the very edge of what is allowed, each end may be reached wrongly in 2.5 % of canaries: 5 % together."""
    rules = CanaryRules(delta=0.05, min_units=50)
    ends = [play(seed, current=0.6, canary=0.55, rules=rules) for seed in range(100)]
    assert sum(end is not Action.CONTINUE for end in ends) <= 9


def test_a_much_worse_canary_is_rolled_back_and_a_better_one_promoted():
    rules = CanaryRules(delta=0.05, min_units=50)
    assert {play(seed, current=0.7, canary=0.4, rules=rules) for seed in range(5)} == {Action.ROLL_BACK}
    assert {play(seed, current=0.5, canary=0.75, rules=rules) for seed in range(5)} == {Action.PROMOTE}


def test_nothing_is_decided_below_the_minimum_sample():
    test = Canary(CanaryRules(min_units=10))
    for unit in range(9):
        test.observe(Arm.CURRENT, f"a{unit}", success=True)
        decision = test.observe(Arm.CANARY, f"b{unit}", success=False)
    assert decision.action is Action.CONTINUE
    assert decision.reason == "9 of 10 units"


def test_many_runs_of_one_user_are_one_unit():
    test = Canary(CanaryRules(min_units=2))
    for _ in range(200):
        test.observe(Arm.CURRENT, "one", success=True)
        decision = test.observe(Arm.CANARY, "other", success=False)
    assert decision.reason == "1 of 2 units"


def test_errors_stop_at_once_even_below_the_minimum_sample():
    test = Canary(CanaryRules(max_errors=2))
    assert test.observe(Arm.CANARY, "a", success=True, error=True).action is Action.CONTINUE
    assert test.observe(Arm.CURRENT, "b", success=True, error=True).action is Action.CONTINUE
    decision = test.observe(Arm.CANARY, "c", success=False, error=True)
    assert decision.action is Action.ROLL_BACK
    assert decision.reason == "2 runs of the canary failed"


def test_spend_stops_at_once():
    test = Canary(CanaryRules(max_spend_nano_usd=1_000_000_000))
    assert test.observe(Arm.CANARY, "a", success=True, cost_nano_usd=1_000_000_000).action is Action.CONTINUE
    assert test.observe(Arm.CANARY, "a", success=True, cost_nano_usd=1).reason == "the canary has spent more than 1.00 USD"


def test_a_canary_that_stays_undecided_ends():
    rules = CanaryRules(delta=0.05, min_units=10, max_units=200)
    assert play(1, current=0.6, canary=0.55, rules=rules) is Action.ROLL_BACK


def test_assignment_is_sticky_and_of_the_asked_share():
    arms = [assign(f"u{n}", salt="x", share=0.1) for n in range(4_000)]
    assert arms == [assign(f"u{n}", salt="x", share=0.1) for n in range(4_000)]
    assert 0.08 < arms.count(Arm.CANARY) / 4_000 < 0.12
    assert {assign(f"u{n}", salt="x", share=0.0) for n in range(50)} == {Arm.CURRENT}
    assert {assign(f"u{n}", salt="x", share=1.0) for n in range(50)} == {Arm.CANARY}


@pytest.mark.parametrize(("field", "value"), [("delta", 0), ("level", 1), ("likely", -1), ("min_units", 1)])
def test_wrong_rules_are_named(field, value):
    with pytest.raises(InvalidRequestError) as caught:
        CanaryRules(**{field: value})
    assert caught.value.param == field
