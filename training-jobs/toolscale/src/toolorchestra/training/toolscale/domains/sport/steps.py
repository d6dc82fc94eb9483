"""Steps that intents of the sports club share: meet the member, find the booking, find a time."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from toolorchestra.training.toolscale.composing import Composer, Fits, Row
from toolorchestra.training.toolscale.customers import Customers
from toolorchestra.training.toolscale.domains.sport.rows import TODAY
from toolorchestra.training.toolscale.draws import weighted
from toolorchestra.worlds.shipped.sport.tools import BLOCKED_FROM, CLOSES, MOST_BOOKINGS, OPENS

TAKEN: Final = 0.6  # how often the first choice is not to be had
SAFE: Final = "2026-05-12T00:00"  # bookings after it can be moved, and cancelled for something
LENGTHS: Final = {1: "one hour", 2: "two hours", 3: "three hours"}
MEMBERS: Final = Customers("members", "member_id", "find_member")
meet, somebody, is_theirs = MEMBERS.meet, MEMBERS.somebody, MEMBERS.owns


def fines_of(do: Composer, member_id: str) -> list[Row]:
    return do.rows("fines", member_id=member_id, status="open")


def may_act(do: Composer, member: Mapping[str, Any]) -> bool:
    """Whether nothing keeps the member from booking, enrolling and entering."""
    due = sum(int(fine["amount"]) for fine in fines_of(do, member["member_id"]))
    return member["status"] == "active" and due <= BLOCKED_FROM


def may_book(do: Composer, member: Mapping[str, Any], more: int = 1) -> bool:
    return may_act(do, member) and len(ahead_of(do, member["member_id"])) + more <= MOST_BOOKINGS


def ahead_of(do: Composer, member_id: str) -> list[Row]:
    """Courts that the member has booked and not yet played on, by key."""
    now = do.world.spec.now
    return [row for row in do.rows("bookings", member_id=member_id, status="booked") if row["starts_at"] > now]


def a_booking(do: Composer, fits: Fits) -> tuple[Row, Row]:
    """A coming booking of the member and its court, told by court and day, and looked up without its number."""
    booking = do.pick(
        "bookings",
        lambda row: (
            is_theirs(do, row)
            and row["status"] == "booked"
            and row["starts_at"] > SAFE
            and not do.has_written("bookings", row["booking_id"])
            and fits(row)
        ),
    )
    who, day = booking["member_id"], booking["starts_at"][:10]
    same = [row for row in ahead_of(do, who) if row["court_id"] == booking["court_id"] and row["starts_at"][:10] == day]
    do.need(len(same) == 1)
    meet(do, who)
    court = do.row("courts", booking["court_id"])
    do.say(court=court["name"], day=day)
    do.unknown("booking number")
    do.once("find_court", name=court["name"])
    do.once("list_bookings", member_id=who, status="booked")
    return booking, court


def a_time(do: Composer, hours: int) -> str:
    """A start within the days that can be booked."""
    day = (TODAY + timedelta(days=do.random.randint(1, 13))).isoformat()
    return f"{day}T{do.random.randint(OPENS, CLOSES - hours):02d}:00"


def a_length(do: Composer) -> int:
    return weighted(do.random, (1, 0.55), (2, 0.35), (3, 0.1))


def when_taken(do: Composer, court_id: str) -> str:
    """A start at which somebody has the court."""
    rows = do.rows("bookings", court_id=court_id, status="booked")
    found: str = do.choose([row["starts_at"] for row in rows if row["starts_at"] > SAFE])
    return found


def say_when(do: Composer, starts_at: str, hours: int) -> None:
    do.say(day=starts_at[:10], time=starts_at[11:], length=LENGTHS[hours])


def guests_of(do: Composer, member: Mapping[str, Any], most: int) -> tuple[int, str]:
    """How many guests come, and how they are paid for."""
    guests = do.random.randint(1, most)
    pay_with = do.random.choice(("passes", "account"))
    do.need(pay_with == "account" or member["guest_passes"] >= guests)
    words = {"passes": "my guest passes", "account": "my club account"}
    do.say(guests="one guest" if guests == 1 else f"{('two', 'three')[guests - 2]} guests", guest_pay=words[pay_with])
    return guests, pay_with
