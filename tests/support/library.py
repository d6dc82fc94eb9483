"""The small world of tests/data/worlds/library, and a task in it."""

from pathlib import Path

from toolorchestra.worlds.session import Call
from toolorchestra.worlds.tasks import Fact, GoldenCall, Task, User

LIBRARY = Path(__file__).resolve().parents[1] / "data" / "worlds" / "library"

GOLDEN = (
    GoldenCall(id="c1", tool="find_member", arguments={"email": "ada@post.example"}),
    GoldenCall(id="c2", tool="list_loans", arguments={"member_id": "ME-100", "status": "open"}, needs=("c1",)),
    GoldenCall(id="c3", tool="find_book", arguments={"title": "Nine Quiet Gardens"}),
    GoldenCall(id="c5", tool="find_book", arguments={"title": "Bread and Rivers"}),
    GoldenCall(
        id="c4",
        tool="lend",
        arguments={"member_id": "ME-100", "book_id": "BO-4", "due": "2026-03-16", "note": "asked by mail"},
        needs=("c1", "c3"),
    ),
)
FACTS = (
    Fact(name="next_due", kind="date", value="2026-03-20", rows=(("loans", "LO-1"),)),
    Fact(name="shelf", kind="text", value="C1", rows=(("books", "BO-4"),), column=("books", "shelf")),
    Fact(name="fines", kind="money", value=350, rows=(("members", "ME-100"),)),
    Fact(name="worth", kind="money", value=4649, rows=(("books", "BO-3"), ("books", "BO-4"))),
)


def task(**changes):
    """Lend a book to Ada and tell her what she owes."""
    user = User(
        persona="plain",
        opening="Hi, I'm at ada@post.example. Lend me Nine Quiet Gardens until 16 March. When is my other book due, where "
        "does the new one stand, and what do I owe? What are that and Bread and Rivers worth together?",
    )
    fields = {
        "id": "library-1",
        "world": "library",
        "intent": "borrow",
        "template": "borrow.0",
        "seed": 1,
        "user": user,
        "golden": GOLDEN,
        "facts": FACTS,
    }
    return Task(**{**fields, **changes})


def calls(*named):
    """``("tool", {arguments})`` pairs as calls."""
    return [Call(tool, arguments) for tool, arguments in named]
