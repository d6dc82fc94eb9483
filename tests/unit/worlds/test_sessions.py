"""A session is a fold of its calls, its hash is that of its rows, and a refused call changes nothing."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.library import LIBRARY, calls
from toolorchestra.worlds.loading import load_world
from toolorchestra.worlds.rows import HASH_MODULUS, RowFormat
from toolorchestra.worlds.session import Session

WORLD = load_world(LIBRARY)
MEMBERS = st.sampled_from(["ME-100", "ME-200", "ME-300", "ME-999"])
BOOKS = st.sampled_from(["BO-1", "BO-2", "BO-3", "BO-4", "BO-9"])
AMOUNTS = st.sampled_from(["0.10", "1.00", "3.50", "99.00", "1", 5])
DATES = st.sampled_from(["2026-03-16", "2026-04-01", "2025-01-01", "soon"])


def call(tool, **arguments):
    return st.tuples(st.just(tool), st.fixed_dictionaries(arguments))


CALLS = st.one_of(
    call("find_member", email=st.sampled_from(["ADA@post.example", "bram@post.example", "nobody"])),
    call("list_loans", member_id=MEMBERS),
    call("lend", member_id=MEMBERS, book_id=BOOKS, due=DATES),
    call("give_back", loan_id=st.sampled_from(["LO-1", "LO-2", "LO-3", "LO-7"])),
    call("move_fines", from_member_id=MEMBERS, to_member_id=MEMBERS, amount=AMOUNTS),
    call("pay_fine", member_id=MEMBERS, amount=AMOUNTS),
    call("no_such_tool", anything=st.integers()),
)
EPISODES = st.lists(CALLS, max_size=12)


def rows_of(session):
    return {table: sorted(map(str, session.database.rows(table))) for table in WORLD.spec.tables}


def recomputed(session):
    forms = (RowFormat(name, table) for name, table in WORLD.spec.tables.items())
    return sum(form.hash(row) for form in forms for row in session.database.rows(form.name)) % HASH_MODULUS


@settings(max_examples=60, deadline=None)
@given(EPISODES)
def test_a_session_is_a_fold_of_its_calls(episode):
    live = Session(WORLD)
    for tool, arguments in episode:
        live.call(tool, arguments)
    again = Session.replay(WORLD, live.calls)
    assert again.state_hash == live.state_hash
    assert [result.content for result in again.results] == [result.content for result in live.results]
    assert rows_of(again) == rows_of(live)


@settings(max_examples=60, deadline=None)
@given(EPISODES)
def test_the_hash_is_always_that_of_the_present_rows(episode):
    session = Session(WORLD)
    for tool, arguments in episode:
        session.call(tool, arguments)
        assert session.state_hash == recomputed(session)


@settings(max_examples=60, deadline=None)
@given(EPISODES)
def test_a_refused_call_changes_nothing(episode):
    session = Session(WORLD)
    for tool, arguments in episode:
        before, rows = session.state_hash, rows_of(session)
        result = session.call(tool, arguments)
        if not result.ok:
            assert (session.state_hash, rows_of(session)) == (before, rows)
            assert result.rows == frozenset()
            assert result.content["error"]["code"] == result.error_code


INDEPENDENT = calls(
    ("lend", {"member_id": "ME-100", "book_id": "BO-1", "due": "2026-03-16"}),
    ("lend", {"member_id": "ME-200", "book_id": "BO-4", "due": "2026-03-17"}),
    ("lend", {"member_id": "ME-200", "book_id": "BO-4", "due": "2026-03-17"}),
    ("give_back", {"loan_id": "LO-3"}),
    ("pay_fine", {"member_id": "ME-300", "amount": "0.40"}),
    ("find_book", {"title": "bread AND rivers"}),
)


@settings(max_examples=40, deadline=None)
@given(st.permutations(INDEPENDENT))
def test_orders_that_are_valid_end_in_the_same_state(order):
    session = Session.replay(WORLD, order)
    assert all(result.ok for result in session.results)
    assert session.state_hash == Session.replay(WORLD, INDEPENDENT).state_hash


def test_sessions_do_not_see_each_other():
    one, other = Session(WORLD), Session(WORLD)
    one.call("pay_fine", {"member_id": "ME-100", "amount": "3.50"})
    assert other.call("get_member", {"member_id": "ME-100"}).content["fines"] == "3.50"
    assert other.state_hash == WORLD.rows.hash != one.state_hash


def test_the_same_loan_twice_gets_two_ids_that_any_session_gives_again():
    twice = [INDEPENDENT[1], INDEPENDENT[2]]
    ids = [result.content["loan_id"] for result in Session.replay(WORLD, twice).results]
    assert len(set(ids)) == 2
    assert ids == [result.content["loan_id"] for result in Session.replay(WORLD, twice).results]


def test_ignored_and_normalised_columns_make_no_difference():
    def ends(**changes):
        order = {"member_id": "ME-100", "book_id": "BO-1", "due": "2026-03-16", **changes}
        return Session.replay(WORLD, calls(("lend", order))).state_hash

    assert ends(note="a note") == ends(note="another") == ends()
    assert ends(due="2026-03-18") != ends()


def test_a_call_returns_the_rows_that_its_content_shows_and_no_others():
    session = Session(WORLD)
    lent = session.call("lend", {"member_id": "ME-100", "book_id": "BO-1", "due": "2026-03-16"})
    assert lent.rows == {("loans", lent.content["loan_id"])}  # the member and the book are only referred to
    listed = session.call("list_loans", {"member_id": "ME-100", "due_until": "2026-03-16", "status": "open"})
    assert (lent.content["loan_id"] in str(listed.content), "LO-1" in str(listed.content)) == (True, False)
    assert ("loans", "LO-1") not in listed.rows
