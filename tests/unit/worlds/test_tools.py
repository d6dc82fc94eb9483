"""Combinators and @tool give schemas that managers read and refusals that a real API would give."""

import pytest

from tests.support.library import LIBRARY
from toolorchestra.core.schemas import arguments_problem, schema_problem
from toolorchestra.worlds.loading import load_definition, load_world
from toolorchestra.worlds.session import Session

WORLD = load_world(LIBRARY)


def test_schemas_come_from_columns_signatures_and_docstrings():
    assert WORLD.tools["lend"].parameters == {
        "type": "object",
        "properties": {
            "member_id": {"type": "string", "description": "member id"},
            "book_id": {"type": "string", "description": "book id"},
            "due": {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$", "format": "date", "description": "due"},
            "note": {"type": "string", "description": "note"},
        },
        "required": ["member_id", "book_id", "due"],
        "additionalProperties": False,
    }
    fine = WORLD.tools["pay_fine"]
    assert (fine.description, fine.side_effects) == ("Pay a part of a member's fines.", "destructive")
    assert fine.parameters["properties"]["amount"]["format"] == "money"


@pytest.mark.parametrize(
    "tool", [*WORLD.tools.values(), *load_definition("railway").tools.values()], ids=lambda tool: tool.name
)
def test_schemas_are_sound_and_refuse_what_the_tool_refuses(tool):
    assert schema_problem(tool.parameters) is None
    assert arguments_problem(tool.parameters, {"no_such": 1}) is not None


@pytest.mark.parametrize(
    ("tool", "arguments", "code"),
    [
        ("find_member", {"email": "nobody"}, "not_found"),
        ("find_member", {}, "invalid_arguments"),
        ("find_member", {"email": 3}, "invalid_arguments"),
        ("find_member", {"email": "ada@post.example", "more": 1}, "invalid_arguments"),
        ("lend", {"member_id": "ME-9", "book_id": "BO-1", "due": "2026-03-16"}, "not_found"),
        ("lend", {"member_id": "ME-100", "book_id": "BO-3", "due": "2026-03-16"}, "none_left"),
        ("lend", {"member_id": "ME-100", "book_id": "BO-1", "due": "2026-03-02"}, "in_the_past"),
        ("lend", {"member_id": "ME-100", "book_id": "BO-1", "due": "16 March"}, "invalid_arguments"),
        ("give_back", {"loan_id": "LO-2"}, "returned"),
        ("give_back", {"loan_id": "LO-9"}, "not_found"),
        ("move_fines", {"from_member_id": "ME-100", "to_member_id": "ME-100", "amount": "1.00"}, "same_account"),
        ("move_fines", {"from_member_id": "ME-100", "to_member_id": "ME-200", "amount": "4.00"}, "insufficient_balance"),
        ("move_fines", {"from_member_id": "ME-100", "to_member_id": "ME-200", "amount": "0.00"}, "invalid_amount"),
        ("pay_fine", {"member_id": "ME-100", "amount": "9.00"}, "too_much"),
        ("pay_fines", {}, "unknown_tool"),
    ],
)
def test_refusals_have_a_code(tool, arguments, code):
    assert Session(WORLD).call(tool, arguments).error_code == code


def test_a_refusal_says_what_is_at_hand():
    content = Session(WORLD).call("give_back", {"loan_id": "LO-2"}).content
    assert content == {"error": {"code": "returned", "message": "loan LO-2 is returned already"}}


def test_a_search_filters_orders_and_counts():
    session = Session(WORLD)
    assert [row["loan_id"] for row in session.call("list_loans", {"member_id": "ME-100"}).content["loans"]] == ["LO-2", "LO-1"]
    early = session.call("list_loans", {"member_id": "ME-100", "due_until": "2026-03-01"}).content
    assert (early["found"], early["loans"][0]["loan_id"]) == (1, "LO-2")
    assert session.call("list_loans", {"member_id": "ME-300", "status": None}).content == {"found": 0, "loans": []}


def test_transitions_and_transfers_move_what_they_say():
    session = Session(WORLD)
    session.call("give_back", {"loan_id": "LO-1"})
    assert session.call("find_book", {"title": "bread and rivers"}).content["copies"] == 1
    moved = session.call("move_fines", {"from_member_id": "ME-200", "to_member_id": "ME-100", "amount": "2.75"}).content
    assert moved == {"from": {"member_id": "ME-200", "fines": "10.00"}, "to": {"member_id": "ME-100", "fines": "6.25"}}
