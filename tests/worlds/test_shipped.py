"""Every shipped domain: same seed, same bytes; many rows; tasks that pass and fail as they must."""

from collections import Counter

import pytest

from tests.support.worlds import COUNT, SEED
from toolorchestra.training.toolscale.building import DUPLICATE, build_domain, draw_world, write_domain
from toolorchestra.training.toolscale.composing import Composer, OrderMattersError, UnsuitableError
from toolorchestra.training.toolscale.domain import domain_names
from toolorchestra.training.toolscale.draws import generator
from toolorchestra.worlds.check import check
from toolorchestra.worlds.session import Session
from toolorchestra.worlds.verify import Reason, frequent_values, variants, verify


@pytest.fixture(params=domain_names())
def built(request, built_domain):
    return built_domain(request.param)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(built, tmp_path):
    again = build_domain(built.domain, seed=SEED, count=COUNT)
    one, two = write_domain(built, tmp_path / "one"), write_domain(again, tmp_path / "two")
    assert contents(one) == contents(two)
    assert draw_world(built.domain, SEED + 1).rows.hash != built.world.rows.hash


def test_a_domain_has_tools_and_rows_enough(built):
    assert len(built.world.tools) >= 20
    assert sum(map(len, built.world.rows.tables.values())) >= 750
    assert all(built.world.rows.tables.values())


def test_tasks_are_of_every_intent_mostly_write_and_take_several_calls(built):
    assert len(built.tasks) == COUNT
    assert {name for task in built.tasks for name in task.intent.split("+")} == {one.name for one in built.domain.intents}
    assert sum(task.difficulty["writes"] > 0 for task in built.tasks) >= 0.6 * COUNT
    assert sum(len(task.golden) for task in built.tasks) >= 3.5 * COUNT
    assert len({task.id for task in built.tasks}) == len({task.user.opening for task in built.tasks}) == COUNT


def test_golden_and_other_right_episodes_pass(built):
    failed, seen = Counter(), Counter()
    for task in built.tasks:
        for name, (calls, answer) in variants(built.world, task, seed=1).items():
            seen[name] += 1
            failed[name] += not check(built.world, task, calls, answer).success
    assert failed.total() == 0
    assert seen.keys() == {"reordered", "extra_reads", "other_path", "retry", "reworded"}
    assert seen["reordered"] > COUNT / 2


def test_kept_tasks_stand_another_verification(built):
    frequent = frequent_values(built.tasks)
    drops = [drop for task in built.tasks for drop in verify(built.world, task, frequent=frequent)]
    assert [drop for drop in drops if drop.reason is not Reason.PASSES_FREQUENT] == []


def test_nobody_passes_without_working(built):
    for task in built.tasks:
        for answer in ("", task.user.opening, task.user.text):
            assert not check(built.world, task, (), answer).success


def test_what_was_dropped_is_counted_by_reason(built):
    draws = {UnsuitableError.reason, OrderMattersError.reason}
    assert sum(built.drops.values()) >= built.attempts - COUNT - sum(built.drops.get(reason, 0) for reason in draws)
    known = {reason.value for reason in Reason} | draws | {DUPLICATE}
    assert built.drops.keys() <= known
    assert not [reason for reason in built.drops if reason.startswith(("another", "looking", "a refused", "a reworded"))]


def test_what_a_request_joins_comes_out_alike_in_another_order(built):
    """Each pair of wishes is done again the other way round, in sessions of this test's own."""
    intents, joined = built.domain.intents, 0
    for number in range(120):
        random = generator(number, built.domain.name, "pairs")
        composer = Composer(built.world, random)
        try:
            composer.perform(intents[number % len(intents)])
            border = len(composer.session.calls)
            composer.perform(random.choice(intents))
        except UnsuitableError:
            continue
        calls = composer.session.calls
        turned = Session.replay(built.world, [*calls[border:], *calls[:border]])
        assert all(result.ok for result in turned.results)
        assert turned.state_hash == composer.session.state_hash
        joined += 1
    assert joined >= 5
