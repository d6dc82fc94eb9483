"""What patrons want apart from tickets: recordings, playlists, gift cards, memberships."""

from datetime import timedelta
from typing import Any, Final

from toolorchestra.training.toolscale.composing import Composer, Intent, Row
from toolorchestra.training.toolscale.domains.entertainment.rows import PLAYLISTS
from toolorchestra.training.toolscale.domains.entertainment.steps import a_friend, purse, somebody
from toolorchestra.training.toolscale.wording import Cents
from toolorchestra.worlds.shipped.entertainment.tools import (
    LAPSED_DAYS,
    PLAYLIST_SIZE,
    RETURN_DAYS,
    renewal_price,
    rental_price,
)
from toolorchestra.worlds.tools import cents
from toolorchestra.worlds.values import Kind

TITLE: Final = ("productions", "title")


def rent(do: Composer) -> None:
    """One recording that is named; perhaps only for so much."""
    do.go_by("memberships", "rentals")
    patron = somebody(do)
    who, production = patron["patron_id"], do.pick("productions", lambda row: row["rent_price"] is not None)
    do.say(title=production["title"])
    do.once("find_production", title=production["title"])
    paid_with = purse(do)
    if do.evolve("budget"):
        found = do.once("list_memberships", patron_id=who)["memberships"]
        level = next((row["level"] for row in found if row["status"] == "active"), None)
        if not do.at_most(rental_price(production["rent_price"], level)):
            do.tell("minutes", Kind.NUMBER, production["minutes"], ("productions", production["production_id"]))
            do.tell("premiere", Kind.DATE, production["premiered_on"], ("productions", production["production_id"]))
            return
    watch(do, patron, production, paid_with)


def watch(do: Composer, patron: Row, production: Row, paid_with: str) -> None:
    """Rents, and tells what it cost and how long it is."""
    order = {"patron_id": patron["patron_id"], "production_id": production["production_id"]}
    rental = do.call("rent_recording", **order, paid_with=paid_with)
    do.tell("price", Kind.MONEY, cents(rental["price"]), ("rentals", rental["rental_id"]))
    do.tell("watch_until", Kind.DATE, rental["watch_until"], ("rentals", rental["rental_id"]))
    if paid_with == "credit":
        do.tell("balance", Kind.MONEY, cents(rental["credit"]), ("patrons", patron["patron_id"]))
    else:
        do.tell("minutes", Kind.NUMBER, production["minutes"], ("productions", production["production_id"]))


def a_genre(do: Composer) -> tuple[str, list[Row]]:
    """A genre that the patron names, and its recordings, the cheapest first."""
    rentable = [row for row in do.rows("productions") if row["rent_price"] is not None]
    genre: str = do.choose(sorted({row["genre"] for row in rentable}))
    do.say(genre=genre)
    return genre, sorted((row for row in rentable if row["genre"] == genre), key=lambda row: int(row["rent_price"]))


def rent_cheapest(do: Composer) -> None:
    """The cheapest recording of a genre, perhaps of those that are short enough."""
    do.go_by("memberships", "rentals")
    patron, paid_with = somebody(do), purse(do)
    genre, fit = a_genre(do)
    terms: Row = {"genre": genre}
    if do.evolve("short"):
        longest = do.random.randrange(90, 150, 10)
        fit = [row for row in fit if row["minutes"] <= longest]
        terms["minutes_until"] = longest
        do.say(longest=str(longest))
    do.call("search_recordings", **terms)
    do.need(len(fit) > 1 and fit[0]["rent_price"] < fit[1]["rent_price"])
    best = fit[0]
    do.tell("title", Kind.TEXT, best["title"], ("productions", best["production_id"]), column=TITLE)
    watch(do, patron, best, paid_with)


def return_rentals(do: Composer) -> None:
    """Everything that was not started and can still be given back."""
    do.go_by("rentals")
    since = (do.world.spec.clock - timedelta(days=RETURN_DAYS)).strftime("%Y-%m-%d")

    def ready(patron_id: str) -> list[Row]:
        return do.rows("rentals", patron_id=patron_id, status="ready")

    def returnable(patron_id: str) -> list[Row]:
        return [row for row in ready(patron_id) if row["rented_on"] >= since]

    patron = somebody(do, lambda row: len(ready(row["patron_id"])) > 1 and bool(returnable(row["patron_id"])))
    who = patron["patron_id"]
    do.unknown("rental numbers")
    do.call("list_rentals", patron_id=who, status="ready")
    rentals = returnable(who)
    done: Row = {}
    for rental in rentals:
        done = do.call("return_rental", rental_id=rental["rental_id"])
    total = sum(row["price"] for row in rentals)
    do.tell("total", Kind.MONEY, total, *(("rentals", row["rental_id"]) for row in rentals))
    if any(row["paid_with"] == "credit" for row in rentals):
        do.tell("balance", Kind.MONEY, cents(done["credit"]), ("patrons", who))


def save_genre(do: Composer) -> None:
    """All recordings of a genre up to a price, into one playlist."""
    do.go_by("playlist_items")
    patron, playlist = somebody(do), do.random.choice(PLAYLISTS)
    genre, fit = a_genre(do)
    count = do.random.randint(2, 4)
    do.need(len(fit) > count)
    most = fit[count - 1]["rent_price"] // 50 * 50 + 50
    do.need(most < fit[count]["rent_price"])
    do.say(most=Cents(most), playlist=playlist)
    do.call("search_recordings", genre=genre, rent_until=f"{most // 100}.{most % 100:02d}")
    do.call("list_playlist", patron_id=patron["patron_id"], playlist=playlist)
    held = {row["production_id"] for row in do.rows("playlist_items", patron_id=patron["patron_id"], playlist=playlist)}
    new = [row for row in fit[:count] if row["production_id"] not in held]
    do.need(bool(new) and len(held) + len(new) <= PLAYLIST_SIZE)
    for row in new:
        order = {"patron_id": patron["patron_id"], "playlist": playlist}
        do.call("save_recording", **order, production_id=row["production_id"])
    rows = [("productions", row["production_id"]) for row in fit[:count]]
    do.tell("minutes", Kind.NUMBER, sum(row["minutes"] for row in fit[:count]), *rows)
    do.tell("dearest", Kind.TEXT, fit[count - 1]["title"], rows[-1], column=TITLE)


def buy_gift_card(do: Composer) -> None:
    patron = somebody(do)
    friend, paid_with = a_friend(do), purse(do)
    amount = do.random.randrange(1500, 15_000, 500)
    do.say(amount=Cents(amount))
    people = {"patron_id": patron["patron_id"], "for_patron_id": friend["patron_id"]}
    card = do.call("buy_gift_card", **people, amount=f"{amount // 100}.00", paid_with=paid_with)
    do.tell("card_number", Kind.ID, card["gift_card_id"], ("gift_cards", card["gift_card_id"]))
    do.tell("expires", Kind.DATE, card["expires_on"], ("gift_cards", card["gift_card_id"]))
    if paid_with == "credit":
        do.tell("balance", Kind.MONEY, cents(card["giver"]["credit"]), ("patrons", patron["patron_id"]))


def redeem_gift_cards(do: Composer) -> None:
    """All that are good, or only the one that runs out first."""

    def usable(patron_id: str) -> list[Row]:
        return do.rows("gift_cards", patron_id=patron_id, status="active")

    patron = somebody(do, lambda row: bool(usable(row["patron_id"])))
    cards = sorted(usable(patron["patron_id"]), key=lambda row: (row["expires_on"], row["gift_card_id"]))
    do.call("list_gift_cards", patron_id=patron["patron_id"], status="active")
    do.unknown("card numbers")
    if len(cards) > 1 and do.evolve("first_to_expire"):
        do.need(cards[0]["expires_on"] < cards[1]["expires_on"])
        kept = cards[1]
        cards = cards[:1]
        do.tell("next_expiry", Kind.DATE, kept["expires_on"], ("gift_cards", kept["gift_card_id"]))
    done: Row = {}
    for card in cards:
        done = do.call("redeem_gift_card", gift_card_id=card["gift_card_id"])
    do.tell("balance", Kind.MONEY, cents(done["credit"]), ("patrons", patron["patron_id"]))


def renew_membership(do: Composer) -> None:
    do.go_by("bookings", "rentals")
    oldest = (do.world.spec.clock - timedelta(days=LAPSED_DAYS)).strftime("%Y-%m-%d")

    def renewable(patron_id: str) -> list[Row]:
        rows = do.rows("memberships", patron_id=patron_id)
        return [row for row in rows if row["status"] != "suspended" and row["valid_until"] >= oldest]

    patron = somebody(do, lambda row: bool(renewable(row["patron_id"])))
    membership: Any = renewable(patron["patron_id"])[0]
    years, paid_with = do.random.randint(1, 2), purse(do)
    do.say(years={1: "one year", 2: "two years"}[years])
    do.once("list_memberships", patron_id=patron["patron_id"])
    do.unknown("membership number", "membership level")
    me = ("memberships", membership["membership_id"])
    if do.evolve("condition") and not do.at_most(renewal_price(membership["level"], years)):
        do.tell("valid_until", Kind.DATE, membership["valid_until"], me)
        return
    done = do.call("renew_membership", membership_id=membership["membership_id"], years=years, paid_with=paid_with)
    do.tell("valid_until", Kind.DATE, done["valid_until"], me)
    do.tell("charged", Kind.MONEY, cents(done["charged"]), me)


STREAMING: Final = (
    Intent("rent", rent, ("budget",)),
    Intent("rent_cheapest", rent_cheapest, ("short",)),
    Intent("return_rentals", return_rentals),
    Intent("save_genre", save_genre),
    Intent("buy_gift_card", buy_gift_card),
    Intent("redeem_gift_cards", redeem_gift_cards, ("first_to_expire",)),
    Intent("renew_membership", renew_membership, ("condition",)),
)
