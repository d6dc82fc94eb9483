"""What members of the library want."""

from pathlib import Path

from toolorchestra.training.toolscale.composing import Intent
from toolorchestra.training.toolscale.domain import make_domain
from toolorchestra.training.toolscale.domains.library.rows import draw_rows
from toolorchestra.worlds.tools import cents
from toolorchestra.worlds.values import Kind


def meet(do, fits=lambda _: True):
    known = do.shared.get("member")
    member = do.pick("members", lambda row: known in (None, row["member_id"]) and fits(row))
    do.shared["member"] = member["member_id"]
    do.introduce(email=member["email"])
    do.once("find_member", email=member["email"])
    return member["member_id"]


def bring_back_all(do):
    """Every open loan of a member."""
    member = meet(do, lambda row: len(do.rows("loans", member_id=row["member_id"], status="open")) > 1)
    loans = do.call("list_loans", member_id=member, status="open")["loans"]
    for loan in loans:
        do.call("give_back", loan_id=loan["loan_id"])
    do.tell("first_due", Kind.DATE, loans[0]["due"], ("loans", loans[0]["loan_id"]))


def borrow(do):
    member = meet(do)
    books = [do.pick("books", lambda row: row["copies"] > 0) for _ in range(2)]
    do.need(books[0] != books[1])
    do.say(one=books[0]["title"], two=books[1]["title"], due="2026-03-27")
    found = [do.once("find_book", title=book["title"]) for book in books]
    for book in found:
        do.call("lend", member_id=member, book_id=book["book_id"], due="2026-03-27")
    worth = sum(cents(book["price"]) for book in found)
    do.tell("worth", Kind.MONEY, worth, *(("books", book["book_id"]) for book in found))


WORLD = Path(__file__).resolve().parents[6] / "worlds" / "library"
DOMAIN = make_domain(__file__, (Intent("borrow", borrow), Intent("bring_back_all", bring_back_all)), draw_rows, world=WORLD)
