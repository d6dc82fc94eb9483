"""What the library's desk can do."""

from pydantic import JsonValue

from toolorchestra.worlds.combinators import Require, create, look_up, search, transfer, transition
from toolorchestra.worlds.errors import ToolRefusal
from toolorchestra.worlds.state import Database, money_text
from toolorchestra.worlds.tools import Amount, cents, tool


def on_shelf(db: Database, book_id: str, more: int) -> None:
    db.update("books", book_id, copies=db.at("books", book_id)["copies"] + more)


@tool(side_effects="destructive")
def pay_fine(db: Database, *, member_id: str, amount: Amount) -> JsonValue:
    """Pay a part of a member's fines.

    member_id: Who pays
    amount: How much, e.g. 2.50
    """
    member = db.get("members", member_id)
    if member is None:
        raise ToolRefusal("not_found", f"no member has the id {member_id!r}")
    if cents(amount) > member["fines"]:
        raise ToolRefusal("too_much", f"only {money_text(member['fines'])} are owed")
    return db.show("members", db.update("members", member_id, fines=member["fines"] - cents(amount)))


TOOLS = (
    look_up("find_member", "members", by="email"),
    look_up("get_member", "members"),
    look_up("find_book", "books", by="title"),
    search(
        "list_loans",
        "loans",
        {"member_id": ("member_id", "is"), "status": ("status", "is"), "due_until": ("due", "until")},
        description="List the loans of a member.",
        required=("member_id",),
        order="due",
    ),
    create(
        "lend",
        "loans",
        "LO",
        ("member_id", "book_id", "due", "note"),
        description="Lend a book.",
        values={"status": "open"},
        requires=(
            Require(lambda db, row: db.at("books", row["book_id"])["copies"] > 0, "none_left", "no copy of {book_id} is left"),
            Require(lambda db, row: row["due"] > db.spec.today, "in_the_past", "{due} is not after today"),
        ),
        then=lambda db, row: on_shelf(db, row["book_id"], -1),
    ),
    transition(
        "give_back",
        "loans",
        description="Take a book back.",
        to={"status": "returned"},
        requires=(Require(lambda _, row: row["status"] == "open", "returned", "loan {loan_id} is {status} already"),),
        then=lambda db, row: on_shelf(db, row["book_id"], 1),
    ),
    transfer("move_fines", "members", "fines", "amount", description="Let one member take over fines of another."),
    pay_fine,
)
