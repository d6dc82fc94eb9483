"""Word problems of everyday arithmetic, with the expression that a calculator would be given."""

from collections.abc import Sequence
from fractions import Fraction
from random import Random
from typing import Final

from toolorchestra.training.toolscale.qa.drafts import CALCULATOR, Draft, Generator, cents, rounded, say, usd
from toolorchestra.worlds.questions import Need
from toolorchestra.worlds.values import Kind

CENTS: Final = "[Reply with the amount in dollars and cents alone.|Give the amount alone, to the cent.]"
ALONE: Final = "[Reply with the number alone.|Give just the number.]"
_THINGS: Final = (
    "lamp",
    "rucksack",
    "kettle",
    "bicycle helmet",
    "desk chair",
    "printer",
    "raincoat",
    "tent",
    "drill",
    "monitor",
)
_FOODS: Final = ("almonds", "coffee", "olives", "rice", "cheese", "walnuts", "lentils", "dried figs")
_CROWD: Final = ("Ana", "Bo", "Cleo", "Dev", "Edda", "Finn", "Gus", "Hana")


def discount(random: Random) -> Draft:
    price, off, tax = random.randrange(1_999, 90_000), random.choice((5, 12, 15, 18, 22, 35)), random.choice((6, 7, 8, 19, 21))
    value = cents(Fraction(price, 100) * Fraction(100 - off, 100) * Fraction(100 + tax, 100))
    number, text = say(
        random,
        "A {thing} is marked {price}. It is reduced by {off}%, and {tax}% sales tax is added to the reduced price. "
        "What [is to pay|does the customer pay]? " + CENTS,
        "[In a sale|This week] {off}% is taken off a {thing} of {price} before {tax}% tax comes on top. "
        "What does it [cost in the end|come to]? " + CENTS,
        thing=random.choice(_THINGS), price=usd(price), off=off, tax=tax,
    )  # fmt: skip
    return _money("discount", number, text, value, f"{price / 100} * (1 - {off} / 100) * (1 + {tax} / 100)", 2)


def interest(random: Random) -> Draft:
    put, years = random.randrange(500, 20_000, 50), random.randint(3, 12)
    rate = Fraction(random.randrange(125, 675, 25), 100)
    value = cents(put * (1 + rate / 100) ** years)
    number, text = say(
        random,
        "${put} [are|is] put into an account at {rate}% a year, compounded yearly. What is in it after {years} years? " + CENTS,
        "Somebody saves ${put} at {rate}% yearly compound interest and touches nothing for {years} years. "
        "What [do they have then|is it worth then]? " + CENTS,
        put=put, rate=float(rate), years=years,
    )  # fmt: skip
    return _money("interest", number, text, value, f"{put} * (1 + {float(rate)} / 100) ** {years}", 2)


def ratio(random: Random) -> Draft:
    names, parts = random.sample(_CROWD, 3), random.sample(range(2, 12), 3)
    pot = random.randrange(30_000, 900_000)
    value = cents(Fraction(pot, 100) * Fraction(parts[1], sum(parts)))
    number, text = say(
        random,
        "{a}, {b} and {c} share {pot} in the ratio {x} to {y} to {z}. How much does {b} get? " + CENTS,
        "{pot} [are|is] divided among {a}, {b} and {c} as {x} : {y} : {z}. What is the share of {b}? " + CENTS,
        a=names[0], b=names[1], c=names[2], x=parts[0], y=parts[1], z=parts[2], pot=usd(pot),
    )  # fmt: skip
    return _money("ratio", number, text, value, f"{pot / 100} * {parts[1]} / ({' + '.join(map(str, parts))})", 1)


def unit_price(random: Random) -> Draft:
    grams, price = random.choice((125, 150, 200, 250, 350, 450)), random.randrange(189, 1_499)
    wanted = Fraction(random.randrange(11, 79), 10)
    value = cents(Fraction(price, 100) * wanted * 1000 / grams)
    number, text = say(
        random,
        "{grams} g of {food} cost {price}. What do {kg} kg cost at the same price per gram? " + CENTS,
        "A shop sells {food} at {price} for {grams} g. [What is the price of|How much are] {kg} kg? " + CENTS,
        grams=grams, price=usd(price), food=random.choice(_FOODS), kg=float(wanted),
    )  # fmt: skip
    return _money("unit_price", number, text, value, f"{price / 100} / {grams} * {float(wanted)} * 1000", 1)


def invoice(random: Random) -> Draft:
    lines = [(random.randint(2, 24), random.randrange(215, 8_999), thing) for thing in random.sample(_THINGS, 3)]
    off, shipping = random.choice((3, 4, 6, 9)), random.randrange(495, 2_995)
    goods = sum(count * price for count, price, _ in lines)
    value = cents(Fraction(goods, 100) * Fraction(100 - off, 100) + Fraction(shipping, 100))
    listed = ", ".join(f"{count} × {thing} at {usd(price)}" for count, price, thing in lines)
    number, text = say(
        random,
        "An invoice lists {listed}. On the goods there is a rebate of {off}%; shipping of {shipping} is added after it. "
        "What is the total? " + CENTS,
        "We ordered {listed}. The supplier takes {off}% off the goods and charges {shipping} for shipping on top. "
        "What [should the bill say|do we owe]? " + CENTS,
        listed=listed, off=off, shipping=usd(shipping),
    )  # fmt: skip
    summed = " + ".join(f"{count} * {price / 100}" for count, price, _ in lines)
    return _money("invoice", number, text, value, f"({summed}) * (1 - {off} / 100) + {shipping / 100}", 3)


def exchange(random: Random) -> Draft:
    amount, rate = random.randrange(150, 5_000), Fraction(random.randrange(7_000, 15_999), 10_000)
    fee, fixed = Fraction(random.randrange(5, 35), 10), random.randrange(100, 900)
    value = cents(amount * rate * (1 - fee / 100) - Fraction(fixed, 100))
    number, text = say(
        random,
        "You change {amount} francs at {rate} dollars per franc. The bank keeps {fee}% of the dollars and then {fixed}. "
        "What do you get? " + CENTS,
        "{amount} francs are changed at {rate} dollars each; of the result {fee}% goes as a fee, and a further {fixed} "
        "for the transfer. How many dollars arrive? " + CENTS,
        amount=amount, rate=float(rate), fee=float(fee), fixed=usd(fixed),
    )  # fmt: skip
    return _money("exchange", number, text, value, f"{amount} * {float(rate)} * (1 - {float(fee)} / 100) - {fixed / 100}", 3)


def mean_value(random: Random) -> Draft:
    values = [random.randrange(112, 980) for _ in range(random.randint(6, 9))]
    value = rounded(Fraction(sum(values), len(values)), 2)
    number, text = say(
        random,
        "A counter noted {values} visitors on {n} days. What is the mean, to two decimal places? " + ALONE,
        "What is the average of {values}, rounded to two decimals? " + ALONE,
        values=_listed(values), n=len(values),
    )  # fmt: skip
    return _number("mean_value", number, text, value, f"({' + '.join(map(str, values))}) / {len(values)}", 1)


def growth(random: Random) -> Draft:
    before, factor = random.randrange(1_200, 98_000), random.randrange(1_060, 1_950)
    after = before * factor // 1_000
    value = rounded(Fraction(100 * (after - before), before), 1)
    number, text = say(
        random,
        "A town grew from {before} to {after} people. By how many per cent is that, to one decimal place? " + ALONE,
        "[Sales|Downloads] went from {before} to {after}. What is the rise in per cent, to one decimal? " + ALONE,
        before=before, after=after,
    )  # fmt: skip
    return _number("growth", number, text, value, f"({after} - {before}) / {before} * 100", 1)


def two_legs(random: Random) -> Draft:
    way, back = random.randrange(35, 420), random.randrange(35, 420)
    fast, slow = random.randrange(62, 128), random.randrange(31, 61)
    value = rounded(Fraction(way + back) / (Fraction(way, fast) + Fraction(back, slow)), 1)
    number, text = say(
        random,
        "A van drives {way} km at {fast} km/h and then {back} km at {slow} km/h. What is its average speed over the whole way "
        "in km/h, to one decimal place? " + ALONE,
        "First {way} km at {fast} km/h, then {back} km at {slow} km/h: which average speed in km/h is that over both parts, "
        "to one decimal? " + ALONE,
        way=way, back=back, fast=fast, slow=slow,
    )  # fmt: skip
    return _number("two_legs", number, text, value, f"({way} + {back}) / ({way} / {fast} + {back} / {slow})", 2)


def pumps(random: Random) -> Draft:
    first, second, leak = random.randrange(20, 90), random.randrange(20, 90), random.randrange(130, 400)
    value = rounded(1 / (Fraction(1, first) + Fraction(1, second) - Fraction(1, leak)), 1)
    number, text = say(
        random,
        "One pump fills a tank in {first} minutes, another in {second}, and a leak would empty it in {leak}. With both pumps "
        "on and the leak open, after how many minutes is it full, to one decimal place? " + ALONE,
        "Two taps alone need {first} and {second} minutes for a basin; the drain alone empties it in {leak} minutes. With all "
        "three open, how many minutes does filling take, to one decimal? " + ALONE,
        first=first, second=second, leak=leak,
    )  # fmt: skip
    return _number("pumps", number, text, value, f"1 / (1 / {first} + 1 / {second} - 1 / {leak})", 3)


GENERATORS: Final[Sequence[Generator]] = (
    discount, interest, ratio, unit_price, invoice, exchange, mean_value, growth, two_legs, pumps,
)  # fmt: skip


def _money(name: str, number: int, text: str, value: int, expression: str, steps: int) -> Draft:
    return _draft(name, number, text, Kind.MONEY, value, expression, steps)


def _number(name: str, number: int, text: str, value: float, expression: str, steps: int) -> Draft:
    return _draft(name, number, text, Kind.NUMBER, value, expression, steps)


def _draft(name: str, number: int, text: str, kind: Kind, value: float, expression: str, steps: int) -> Draft:
    return Draft(
        template=f"{name}.{number}",
        question=text,
        kind=kind,
        value=value,
        topic="arithmetic",
        need=Need.ARITHMETIC,
        cluster=f"arithmetic/{name}",
        steps=steps,
        tool=CALCULATOR,
        argument=f"round({expression}, {2 if kind is Kind.MONEY else _places(value)})",
    )


def _places(value: float) -> int:
    return 0 if isinstance(value, int) else 2 if round(value, 1) != value else 1


def _listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values[:-1])) + f" and {values[-1]}"
