"""Rewards: a law for every trap that is known of ToolOrchestra's, and a policy that learns by them."""

import math
from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.core.loop.engine import drive
from toolorchestra.core.loop.memory import MemoryJournal, open_episode
from toolorchestra.core.pricing import Price
from toolorchestra.core.resources.orchestrator import Weights
from toolorchestra.core.rewards.episodes import EpisodeOutcome, Rollout, rollout_of
from toolorchestra.core.rewards.forms import Form
from toolorchestra.core.rewards.groups import advantages, explored_first_tools, score_group
from toolorchestra.core.rewards.yardstick import Yardstick
from toolorchestra.core.testing import (
    Fail,
    Peers,
    Result,
    Say,
    ScriptedExecutor,
    ScriptedModels,
    StepClock,
    Use,
    a_revision,
    a_tool,
    an_expert,
    an_opening,
)

OK, WRONG, BROKEN = EpisodeOutcome.OK, EpisodeOutcome.WRONG, EpisodeOutcome.ENVIRONMENT_FAILURE
TOOLS = ("expert", "search", "crm__find", "crm__book")
STRONGEST_NANO_USD, STRONGEST_MS = 1_000_000, 2_000
SHARE = st.floats(0, 1)
WEIGHTS = st.builds(
    Weights,
    accuracy=st.floats(0.01, 1),
    cost=SHARE,
    latency=SHARE,
    tools=st.dictionaries(st.sampled_from(["expert", "search", "crm"]), st.floats(-1, 1)),
)
USES = st.dictionaries(st.sampled_from(TOOLS), st.integers(0, 5))
ROLLOUTS = st.builds(
    Rollout,
    st.sampled_from([OK, OK, WRONG]),
    st.integers(0, 10**9),
    st.integers(0, 10**6),
    USES,
    st.sampled_from([True, True, False]),
)
GROUPS = st.lists(ROLLOUTS, min_size=2, max_size=8)
law = settings(max_examples=50, deadline=None)  # no law is about the speed of the machine
every_form = pytest.mark.parametrize("form", Form)


def yardstick(weights, *, offered=TOOLS, strongest_nano_usd=STRONGEST_NANO_USD, strongest_ms=STRONGEST_MS):
    return Yardstick(weights, offered, strongest_nano_usd, strongest_ms)


def by(**weights):
    return yardstick(Weights(**weights))


def right(cost=0, latency=0, **uses):
    return Rollout(OK, cost, latency, uses)


def wrong(cost=0, latency=0, **uses):
    return Rollout(WRONG, cost, latency, uses)


def at_most(value, bound):
    """Not above ``bound``, but for rounding in the last digits."""
    return value <= bound or math.isclose(value, bound, rel_tol=1e-9, abs_tol=1e-9)


# --- what an episode took ---------------------------------------------------------------------------------------------------

PRICE = Price(input=1_000_000_000, output=2_000_000_000)


async def episode(models, tools=(), **limits):
    """A run of the real loop in memory, with an expert, a tool and a manager that have prices."""
    resources = (a_tool("lookup"), an_expert("sage"), an_expert("boss"))
    journal = MemoryJournal(clock=StepClock(step_ms=1_000))
    peers = Peers(a_revision(*resources, manager="boss"), ScriptedModels(models, price=PRICE), ScriptedExecutor(tools), journal)
    return peers, await drive(peers.context(), await open_episode(journal, peers.revision, an_opening(limits=limits)))


def owed(peers):
    return peers.models.bill.heard_nano_usd + peers.executor.bill.heard_nano_usd


async def test_the_last_call_and_the_orchestrators_own_tokens_are_billed():
    ask = Use((("sage", '{"question": "x"}'),))
    peers, state = await episode([Use((("lookup", '{"query": "x"}'),)), ask, Say("42")])
    rollout = rollout_of([state], OK)
    last, own = state.turns[1].calls[0].outcome.cost_nano_usd, peers.models.bill.heard_nano_usd
    assert last > 0
    assert own > 0
    assert rollout.cost_nano_usd == owed(peers) == own + last + state.turns[0].calls[0].outcome.cost_nano_usd


async def test_a_closing_answer_and_a_failed_question_are_billed():
    ask = Use((("lookup", '{"query": "x"}'),))
    peers, state = await episode([Fail(used=Say().usage, exact=True), ask, Say("forced")], max_turns=2)
    assert state.turns[-1].closing
    assert rollout_of([state], OK).cost_nano_usd == owed(peers)


async def test_every_call_of_a_turn_counts_as_a_use_and_one_that_was_not_made_does_not():
    twice_and_once = Use((("lookup", '{"query": "x"}'), ("lookup", '{"query": "y"}'), ("sage", '{"question": "x"}')))
    never_made = Use((("lookup", "{}"), ("nobody", "{}")))
    _, state = await episode([twice_and_once, never_made, Say("42")])
    assert rollout_of([state], OK).uses == {"lookup": 2, "sage": 1}


async def test_latency_is_the_time_of_the_journal_with_the_orchestrators_own_generation():
    peers, state = await episode([Use((("lookup", '{"query": "x"}'),)), Say("42")], [Result(latency_ms=5)])
    log = peers.journal.log["run"]
    rollout = rollout_of([state], OK)
    assert rollout.latency_ms == (log[-1].at - log[0].at).total_seconds() * 1_000
    assert rollout.latency_ms > 1_000, "the tool alone took 5 ms"


async def test_an_episode_of_several_runs_is_their_sum():
    _, first = await episode([Use((("lookup", '{"query": "x"}'),)), Say("which?")])
    _, second = await episode([Use((("lookup", '{"query": "y"}'),)), Say("42")])
    one, other, both = rollout_of([first], OK), rollout_of([second], OK), rollout_of([first, second], OK)
    assert both.cost_nano_usd == one.cost_nano_usd + other.cost_nano_usd
    assert both.latency_ms == one.latency_ms + other.latency_ms
    assert both.uses == {"lookup": 2}


async def test_a_run_under_way_is_no_episode_yet():
    _, state = await episode([Say("42")])
    for runs in ([], [state, replace(state, ended=None)]):
        with pytest.raises(InvalidRequestError, match="drive each run to its end"):
            rollout_of(runs, OK)


# --- the traps --------------------------------------------------------------------------------------------------------------


@every_form
@law
@given(WEIGHTS, GROUPS, st.data())
def test_more_money_or_time_never_pays(form, weights, group, data):
    place = data.draw(st.integers(0, len(group) - 1))
    more = {"cost_nano_usd": data.draw(st.integers(0, 10**9)), "latency_ms": data.draw(st.integers(0, 10**6))}
    aspect = data.draw(st.sampled_from(sorted(more)))
    dearer = list(group)
    dearer[place] = replace(group[place], **{aspect: getattr(group[place], aspect) + more[aspect]})
    before, after = (score_group(g, yardstick(weights), form=form).rewards[place] for g in (group, dearer))
    assert at_most(after, before)


@every_form
@pytest.mark.parametrize(("aspect", "strongest"), [("cost", STRONGEST_NANO_USD), ("latency", STRONGEST_MS)])
def test_the_cheaper_and_the_faster_of_two_right_episodes_gets_more(form, aspect, strongest):
    group = [right(**{aspect: strongest // 2}), right(**{aspect: strongest // 10})]
    scored = score_group(group, by(**{aspect: 0.5}), form=form)
    assert scored.rewards[1] > scored.rewards[0]
    assert scored.advantages[1] > 0 > scored.advantages[0]


@every_form
@law
@given(WEIGHTS, GROUPS, st.sampled_from(["expert", "search"]), st.data())
def test_a_use_pays_by_the_sign_of_its_weight(form, weights, group, tool, data):
    place = data.draw(st.integers(0, len(group) - 1))
    more = list(group)
    uses = group[place].uses
    more[place] = replace(group[place], uses={**uses, tool: uses.get(tool, 0) + data.draw(st.integers(1, 5))})
    before, after = (score_group(g, yardstick(weights), form=form).rewards[place] for g in (group, more))
    weight = weights.tools.get(tool, 0)
    assert weight > 0 or at_most(after, before)
    assert weight < 0 or at_most(before, after)


@every_form
@law
@given(WEIGHTS, GROUPS)
def test_a_tool_that_is_not_named_was_used_zero_times(form, weights, group):
    spelled_out = [replace(rollout, uses={tool: rollout.uses.get(tool, 0) for tool in TOOLS}) for rollout in group]
    assert score_group(spelled_out, yardstick(weights), form=form) == score_group(group, yardstick(weights), form=form)


def test_zero_uses_are_the_least_of_a_group():
    scored = score_group([right(), right(search=1), right(search=2)], by(tools={"search": 1}), form=Form.PAPER)
    assert scored.rewards == (0.0, 0.5, 1.0)


def test_a_group_that_is_all_right_still_learns_to_be_cheap():
    scored = score_group([right(cost=STRONGEST_NANO_USD)] * 7 + [right(cost=50_000)], by(cost=0.8))
    assert scored.dropped is None
    assert scored.rewards == (pytest.approx(1 / 1.8),) * 7 + (pytest.approx(1.76 / 1.8),)
    assert scored.advantages[7] > 2
    assert scored.advantages[0] < 0


def test_the_papers_form_may_give_a_right_episode_nothing_and_ours_may_not():
    group = [right(cost=STRONGEST_NANO_USD), right(cost=10)]
    assert score_group(group, by(cost=0.5), form=Form.PAPER).rewards == (0.0, 0.5)
    assert min(score_group(group, by(cost=0.5)).rewards) >= 0.5


@every_form
@law
@given(WEIGHTS, ROLLOUTS, st.integers(2, 8))
def test_a_group_of_equals_is_finite_and_teaches_nothing(form, weights, rollout, size):
    scored = score_group([rollout] * size, yardstick(weights), form=form)
    assert len(set(scored.rewards)) == 1
    assert all(map(math.isfinite, scored.rewards))
    assert scored.std == 0
    assert scored.advantages == (0.0,) * size
    assert "too little" in scored.dropped


@pytest.mark.parametrize(
    ("wished", "param"),
    [
        ({"accuracy": 1.5}, "weights.accuracy"),
        ({"cost": -0.1}, "weights.cost"),
        ({"latency": math.nan}, "weights.latency"),
        ({"tools": {"search": -1.1}}, "weights.tools.search"),
        ({"accuracy": 0.0}, "weights"),
        ({"tools": {"serach": 0.5}}, "weights.tools"),
    ],
)
def test_weights_that_cannot_be_meant_are_refused_before_an_episode_is_paid(wished, param):
    unchecked = Weights().model_copy(update=wished)
    with pytest.raises(InvalidRequestError) as refused:
        yardstick(unchecked)
    assert refused.value.param == param
    assert refused.value.hint


@pytest.mark.parametrize(
    "strongest", [{"strongest_nano_usd": 0}, {"strongest_nano_usd": -1}, {"strongest_ms": 0}, {"strongest_ms": -1}]
)
def test_the_strongest_must_take_something_where_it_is_weighed(strongest):
    with pytest.raises(InvalidRequestError, match="strongest"):
        yardstick(Weights(cost=0.5, latency=0.5), **strongest)


def test_where_money_is_not_weighed_the_strongest_may_be_free():
    free = yardstick(Weights(), strongest_nano_usd=0)
    assert score_group([right(cost=3), wrong()], free).rewards == (1.0, 0.0)


@pytest.mark.parametrize("fields", [{"cost": -1}, {"latency": -1}, {"search": -1}])
def test_less_than_nothing_is_not_spent(fields):
    with pytest.raises(InvalidRequestError, match="-1"):
        right(**fields)


def test_a_use_of_what_was_not_offered_is_an_error_that_names_it():
    with pytest.raises(InvalidRequestError, match="tool_7") as refused:
        score_group([right(), right(tool_7=1)], by())
    assert refused.value.param == "group.1.uses"


@every_form
def test_a_tool_without_a_weight_counts_for_nothing(form):
    scored = score_group([right(search=3), right(), wrong()], by(), form=form)
    assert scored.rewards[0] == scored.rewards[1] > scored.rewards[2]


def test_a_weight_of_a_tool_covers_its_operations():
    scored = score_group([right(crm__find=1), right(crm__book=2), right(search=1)], by(tools={"crm": 1}))
    assert scored.rewards == (1.0, 1.0, 0.5)


def test_a_negative_weight_rewards_leaving_a_tool_alone():
    group = [right(expert=1), right()]
    assert score_group(group, by(tools={"expert": -1})).rewards == (0.5, 1.0)
    assert score_group(group, by(tools={"expert": -1}), form=Form.PAPER).rewards == (0.0, 1.0)


# --- laws -------------------------------------------------------------------------------------------------------------------


@law
@given(WEIGHTS, GROUPS)
def test_right_is_at_least_a_half_and_wrong_is_nothing_whoever_is_in_the_group(weights, group):
    scored = score_group(group, yardstick(weights))
    for number, (rollout, reward) in enumerate(zip(group, scored.rewards, strict=True)):
        assert 0.5 <= reward <= 1 if rollout.right else reward == 0
        assert reward == score_group([rollout, *group[:number]], yardstick(weights)).rewards[0]


@every_form
@law
@given(WEIGHTS, GROUPS, st.randoms(use_true_random=False))
def test_the_order_of_episodes_and_of_tools_changes_no_digit(form, weights, group, random):
    order = random.sample(range(len(group)), len(group))
    names = random.sample(sorted(weights.tools), len(weights.tools))
    again = weights.model_copy(update={"tools": {name: weights.tools[name] for name in names}})
    tools = tuple(random.sample(TOOLS, len(TOOLS)))
    plain = score_group(group, yardstick(weights), form=form)
    mixed = score_group([group[n] for n in order], yardstick(again, offered=tools), form=form)
    assert mixed.rewards == tuple(plain.rewards[n] for n in order)
    assert mixed.advantages == tuple(plain.advantages[n] for n in order)


@every_form
@law
@given(WEIGHTS, GROUPS, st.integers(1, 10**6))
def test_a_factor_on_all_prices_changes_nothing(form, weights, group, factor):
    dearer = [replace(rollout, cost_nano_usd=rollout.cost_nano_usd * factor) for rollout in group]
    plain = score_group(group, yardstick(weights), form=form)
    scaled = score_group(dearer, yardstick(weights, strongest_nano_usd=STRONGEST_NANO_USD * factor), form=form)
    assert scaled.rewards == pytest.approx(plain.rewards, abs=1e-9)


@every_form
@law
@given(WEIGHTS, GROUPS)
def test_advantages_are_centred_and_bounded(form, weights, group):
    scored = score_group(group, yardstick(weights), form=form)
    assert math.fsum(scored.advantages) == pytest.approx(0, abs=1e-9)
    assert all(abs(one) <= (len(group) - 1) / math.sqrt(len(group)) + 1e-9 for one in scored.advantages)


# --- filters ----------------------------------------------------------------------------------------------------------------


@every_form
@law
@given(WEIGHTS, GROUPS, st.integers(0, 8))
def test_what_the_environment_broke_is_out_before_anything_is_normalised(form, weights, group, place):
    broken = Rollout(BROKEN, 10**9, 10**6, {"expert": 5})
    plain = score_group(group, yardstick(weights), form=form)
    scored = score_group([*group[:place], broken, *group[place:]], yardstick(weights), form=form)
    place = min(place, len(group))
    assert scored.rewards == (*plain.rewards[:place], None, *plain.rewards[place:])
    assert scored.advantages == (*plain.advantages[:place], None, *plain.advantages[place:])


@every_form
def test_a_bad_format_is_wrong_and_stays_in_the_group(form):
    unreadable = replace(right(), format_ok=False)
    assert score_group([right(), unreadable], by(), form=form) == score_group([right(), wrong()], by(), form=form)
    assert score_group([right(), unreadable], by(), form=form).advantages[1] < 0


def test_groups_are_dropped_below_the_least_spread_of_their_form():
    group = [right(cost=0), right(cost=STRONGEST_NANO_USD // 10)]
    spread = score_group(group, by(cost=1))
    assert spread.std == pytest.approx(0.05 / math.sqrt(2))
    assert spread.dropped is None
    assert "0.0177 < 0.02" in score_group(group, by(cost=0.3333)).dropped
    assert "0.0707 < 0.1" in score_group(group, by(cost=0.1), form=Form.PAPER).dropped
    assert score_group(group, by(cost=0.15), form=Form.PAPER).dropped is None


@pytest.mark.parametrize("group", [[], [right()], [right(), Rollout(BROKEN, 0, 0)], [Rollout(BROKEN, 0, 0)] * 2])
def test_fewer_than_two_episodes_teach_nothing(group):
    scored = score_group(group, by())
    assert "counts" in scored.dropped
    assert all(one in (None, 0.0) for one in scored.advantages)


def test_advantages_are_in_sample_standard_deviations():
    assert advantages([1.0, 0.0]) == pytest.approx([math.sqrt(0.5), -math.sqrt(0.5)])
    assert advantages([0.1] * 3) == (0.0, 0.0, 0.0), "equal, whatever the mean is rounded to"


def test_the_terms_of_each_episode_can_be_shown():
    group = [right(cost=250_000, expert=1), Rollout(BROKEN, 0, 0)]
    terms = score_group(group, by(cost=0.5, tools={"expert": 0.2})).terms
    assert terms == ({"outcome": 1.0, "cost": 0.75, "tools.expert": 1.0}, None)


def test_gdpo_compares_wishes_among_the_right_only():
    alone = score_group([right(cost=1), right(cost=3), wrong(cost=5)], by(cost=0.5), form=Form.GDPO)
    dearer = score_group([right(cost=1), right(cost=3), wrong(cost=50)], by(cost=0.5), form=Form.GDPO)
    assert alone == dearer
    assert alone.terms[2]["cost"] == 0


# --- exploration ------------------------------------------------------------------------------------------------------------


def test_one_of_eight_explores_and_the_same_one_again_by_the_same_seed():
    groups = [explored_first_tools(seed, 8, TOOLS) for seed in range(400)]
    assert all(sum(first is not None for first in group) == 1 for group in groups)
    assert groups == [explored_first_tools(seed, 8, TOOLS) for seed in range(400)]


def test_every_place_and_every_tool_has_its_turn():
    groups = [explored_first_tools(seed, 8, TOOLS) for seed in range(2_000)]
    drawn = Counter(first for group in groups for first in group if first)
    places = Counter(number for group in groups for number, first in enumerate(group) if first)
    assert set(drawn) == set(TOOLS)
    assert all(420 <= count <= 580 for count in drawn.values())
    assert all(190 <= places[number] <= 310 for number in range(8))


@pytest.mark.parametrize("size", [1, 4, 12, 16])
def test_groups_of_other_sizes_explore_as_much_on_average(size):
    explored = sum(first is not None for seed in range(2_000) for first in explored_first_tools(seed, size, TOOLS))
    assert explored / (2_000 * size) == pytest.approx(1 / 8, rel=0.15)


def test_exploring_needs_tools_and_a_share():
    assert explored_first_tools(1, 8, TOOLS, share=0) == (None,) * 8
    assert None not in explored_first_tools(1, 8, TOOLS, share=1)
    with pytest.raises(InvalidRequestError, match="no tool"):
        explored_first_tools(1, 8, ())
    with pytest.raises(InvalidRequestError, match="share"):
        explored_first_tools(1, 8, TOOLS, share=1.1)


# --- a policy that learns by them -------------------------------------------------------------------------------------------

ROUTES = ("cheap", "expert")
ROUTE_NANO_USD = {"cheap": 50_000, "expert": STRONGEST_NANO_USD}
SOLVES = {"easy": {"cheap": 0.95, "expert": 0.97}, "hard": {"cheap": 0.1, "expert": 0.9}}


def learnt(form, seed, *, share, start=0.999, updates=250, rate=0.5):
    """P(expert) per kind of task, of a softmax policy after policy-gradient updates by groups of eight."""
    draw = Random(seed)
    measure = Yardstick(Weights(cost=0.8), ROUTES, STRONGEST_NANO_USD, 1)
    logits = dict.fromkeys(SOLVES, math.log(start / (1 - start)))
    for _ in range(updates):
        for kind, solves in SOLVES.items():
            expert = 1 / (1 + math.exp(-logits[kind]))
            forced = explored_first_tools(draw.getrandbits(32), 8, ROUTES, share=share)
            routes = [first or ("expert" if draw.random() < expert else "cheap") for first in forced]
            ends = [OK if draw.random() < solves[route] else WRONG for route in routes]
            group = [Rollout(end, ROUTE_NANO_USD[route], 0, {route: 1}) for end, route in zip(ends, routes, strict=True)]
            gains = score_group(group, measure, form=form).advantages
            logits[kind] += rate * math.fsum(g * ((r == "expert") - expert) for g, r in zip(gains, routes, strict=True)) / 8
    return {kind: 1 / (1 + math.exp(-logit)) for kind, logit in logits.items()}


@every_form
def test_a_policy_that_nearly_always_asks_the_expert_stays_there_whatever_the_reward(form):
    for seed in range(8):
        assert min(learnt(form, seed, share=0).values()) >= 0.99


@every_form
def test_with_one_explored_route_in_eight_it_finds_the_best_route_of_each_kind(form):
    for seed in range(8):
        expert = learnt(form, seed, share=1 / 8)
        assert expert["easy"] <= 0.01
        assert expert["hard"] >= 0.99


def test_from_less_far_off_it_gets_away_unaided():
    for seed in range(8):
        assert learnt(Form.REFERENCE, seed, share=0, start=0.99)["easy"] <= 0.05
