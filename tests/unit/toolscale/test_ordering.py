"""Wishes that a request joins come out alike in any order, or the draw is given up."""

from random import Random

import pytest

from tests.support.library import LIBRARY
from toolorchestra.training.toolscale.building import build_domain, draw_world
from toolorchestra.training.toolscale.composing import Composer, Intent, OrderMattersError, UnsuitableError
from toolorchestra.training.toolscale.domain import find_domain
from toolorchestra.training.toolscale.ordering import Claims
from toolorchestra.worlds.loading import load_world
from toolorchestra.worlds.tools import cents
from toolorchestra.worlds.values import Kind

WORLD = load_world(LIBRARY)
ADA, LOAN, BOOK, OTHER = "ME-100", "LO-1", "BO-4", "BO-2"


def lend(book=BOOK):
    return lambda do: do.call("lend", member_id=ADA, book_id=book, due="2026-03-16")


def pay(amount, *, told=True):
    """Pay a part of Ada's fines, and tell what is left of them."""

    def solve(do):
        left = do.call("pay_fine", member_id=ADA, amount=amount)["fines"]
        if told:
            do.tell("left", Kind.MONEY, cents(left), ("members", ADA))

    return solve


def owed(do):
    """Tell the fines and what has been read of them, doubled: a figure that no result says."""
    fines = cents(do.call("get_member", member_id=ADA)["fines"])
    do.tell("twice", Kind.MONEY, 2 * fines, ("members", ADA))


def bring_back_all(do):
    for loan in do.call("list_loans", member_id=ADA, status="open")["loans"]:
        do.call("give_back", loan_id=loan["loan_id"])


def loans_of(do):
    do.go_by("loans")
    do.call("list_loans", member_id=ADA)


def bring_back_told(do):
    do.untouched("loans", LOAN)
    do.call("give_back", loan_id=LOAN)


def join(*wishes):
    """One task of these wishes."""
    composer = Composer(WORLD, Random(1))
    for number, solve in enumerate(wishes):
        composer.perform(Intent(f"wish_{number}", solve))
    return composer.done


@pytest.mark.parametrize(
    "wishes",
    [
        (lend(), lend(OTHER)),
        (lend(), pay("1.00")),
        (lend(), lend(OTHER), pay("1.00")),
        (bring_back_told, lend()),
        (pay("1.00", told=False), pay("2.00", told=False)),
        (owed, lend()),
    ],
)
def test_wishes_that_do_not_concern_each_other_are_joined(wishes):
    assert len(join(*wishes).parts) == len(wishes)


@pytest.mark.parametrize(
    "wishes",
    [
        (lend(), bring_back_all),  # in the other order the new loan would stay
        (pay("1.00"), pay("2.00")),  # what is left is said by the results
        (pay("1.00", told=False), pay("2.00")),
        (pay("1.00", told=False), owed),  # and here it was calculated
        (owed, pay("1.00", told=False)),
        (loans_of, lend()),  # declared, whichever comes first
        (lend(), loans_of),
        (bring_back_told, loans_of),
        (bring_back_told, bring_back_told),
        (lend(), pay("1.00"), bring_back_all),
        (lend(OTHER), pay("1.00"), pay("2.00")),
    ],
)
def test_wishes_whose_order_would_matter_are_not(wishes):
    with pytest.raises(OrderMattersError):
        join(*wishes)


def test_what_one_wish_has_for_itself_no_other_touches_and_what_is_shared_several_may():
    def claim(do):
        do.claim("fines", ("book", BOOK))

    def share(do):
        do.share("fines")

    join(share, share)
    for wishes in ((claim, claim), (claim, share), (share, claim)):
        with pytest.raises(OrderMattersError):
            join(*wishes)


def test_claims_are_by_name():
    claims = Claims()
    assert claims.take("a", "b")
    assert claims.take("c")
    assert claims.share("d")
    assert claims.share("d")
    assert not claims.take("e", "d")
    assert not claims.share("a")


def test_a_limit_is_said_and_mostly_kept_to():
    composer = Composer(WORLD, Random(1))
    kept = []
    for _ in range(200):
        try:
            kept.append(composer.at_most(5_000))
        except UnsuitableError:
            continue
    assert 0.55 < sum(kept) / len(kept) < 0.85


def test_draws_that_are_given_up_are_counted_by_reason(library):
    drops = build_domain(library, seed=5, count=20).drops
    assert drops[OrderMattersError.reason] > 0


@pytest.mark.parametrize("pair", [("all_bicycles", "change_train"), ("all_bicycles", "cancel_booking")])
def test_railway_wishes_for_all_bookings_and_for_one_are_not_joined_where_they_meet(pair):
    domain = find_domain("railway")
    known = {intent.name: intent for intent in domain.intents}
    world = draw_world(domain, 21)
    reasons = set()
    for seed in range(40):
        composer = Composer(world, Random(seed))
        try:
            for name in pair:
                composer.perform(known[name])
        except UnsuitableError as error:
            reasons.add(error.reason)
    assert OrderMattersError.reason in reasons
