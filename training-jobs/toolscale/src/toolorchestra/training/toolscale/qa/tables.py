"""Questions over small tables that a program answers: filters, groups, runs, joins, routes. The table stands in the question.

Each has a program, written apart from the function that computes the answer here, so that a test can let one check the other.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from random import Random
from typing import Final

from toolorchestra.training.toolscale.qa.drafts import PYTHON, Draft, Generator, UnsuitableDraftError, rounded, say, usd
from toolorchestra.worlds.questions import Need
from toolorchestra.worlds.values import Kind

Row = Sequence[str | int]
NUMBER: Final = "[Reply with the number alone.|Give just the number.]"
AMOUNT: Final = "[Reply with the amount alone, like $12.50.|Give the amount in dollars alone.]"
NAME: Final = "[Reply with the name alone.|Give just the name.]"
REGIONS: Final = ("north", "south", "east", "west")
PEOPLE: Final = (
    "Alba", "Bruno", "Carla", "Dario", "Elif", "Farid", "Greta", "Henrik", "Ivana", "Jonas", "Keiko", "Lorenz", "Mirela",
)  # fmt: skip
TOWNS: Final = ("Arden", "Birk", "Corva", "Dunmor", "Elst", "Fenby", "Garth", "Holm")
CLIENTS: Final = ("billing", "mobile", "partner", "reports", "search")


def orders(random: Random) -> Draft:
    rows = [
        [random.choice(REGIONS), random.randint(2, 40), random.randrange(250, 9_900)] for _ in range(random.randint(11, 15))
    ]
    region, least = random.choice(REGIONS), random.randint(8, 15)
    value = sum(int(row[1]) * int(row[2]) for row in rows if row[0] == region and int(row[1]) >= least)
    _need(value > 0)
    shown = [[place, one, f"{int(price) / 100:.2f}"] for place, one, price in rows]
    number, text = say(
        random,
        "What did orders from the {region} with {least} pieces or more come to in all (pieces × price)? " + AMOUNT,
        "Add up pieces × price over all orders of the {region} region that have at least {least} pieces. " + AMOUNT,
        region=region, least=least,
    )  # fmt: skip
    body = f"print(round(sum(int(n) * float(p) for r, n, p in rows if r == {region!r} and int(n) >= {least}), 2))"
    return _draft("orders", number, text, (("region", "pieces", "price"), shown), Kind.MONEY, value, body, 2)


def longest_run(random: Random) -> Draft:
    readings = [random.randrange(40, 100) for _ in range(random.randint(14, 20))]
    limit = random.randrange(55, 70)
    runs = list(_runs(readings, limit))
    _need(bool(runs))
    longest = max(runs, key=len)
    _need(sum(len(run) == len(longest) for run in runs) == 1)
    rows: list[Row] = [[hour, reading] for hour, reading in enumerate(readings)]
    number, text = say(
        random,
        "Find the longest run of hours in a row with a load above {limit}. What is the sum of the loads in it? " + NUMBER,
        "In the longest unbroken stretch of loads over {limit}, what do the loads add up to? " + NUMBER,
        limit=limit,
    )  # fmt: skip
    body = (
        "best, run = [], []\nfor _, load in rows:\n"
        f"    run = run + [int(load)] if int(load) > {limit} else []\n"
        "    best = max(best, run, key=len)\nprint(sum(best))"
    )
    return _draft("longest_run", number, text, (("hour", "load"), rows), Kind.NUMBER, sum(longest), body, 3)


def weighted_best(random: Random) -> Draft:
    names = random.sample(PEOPLE, random.randint(8, 11))
    weights = random.sample((2, 3, 4, 5, 7), 3)
    rows: list[Row] = [[name, *(random.randrange(35, 100) for _ in weights)] for name in names]
    totals = {str(row[0]): sum(w * int(mark) for w, mark in zip(weights, row[1:], strict=True)) for row in rows}
    ranked = sorted(totals, key=lambda name: -totals[name])
    _need(totals[ranked[0]] > totals[ranked[1]])
    number, text = say(
        random,
        "Marks count {a} : {b} : {c} for theory, practice and project. Who is best over all three? " + NAME,
        "With theory, practice and project weighted {a}, {b} and {c}, who comes first? " + NAME,
        a=weights[0], b=weights[1], c=weights[2],
    )  # fmt: skip
    a, b, c = weights
    body = f"print(max(rows, key=lambda r: {a} * int(r[1]) + {b} * int(r[2]) + {c} * int(r[3]))[0])"
    return _draft(
        "weighted_best", number, text, (("name", "theory", "practice", "project"), rows), Kind.TEXT, ranked[0], body, 2,
        others=ranked[1:],
    )  # fmt: skip


def covered(random: Random) -> Draft:
    starts = sorted(random.randrange(480, 1_020, 5) for _ in range(random.randint(8, 11)))
    spans = [(start, start + random.randrange(15, 110, 5)) for start in starts]
    value, end = 0, 0
    for start, stop in spans:
        value += max(0, stop - max(start, end))
        end = max(end, stop)
    rows: list[Row] = [[_clock(start), _clock(stop)] for start, stop in random.sample(spans, len(spans))]
    number, text = say(
        random,
        "These bookings of a room overlap. For how many minutes of the day is the room in use in all? " + NUMBER,
        "How many minutes of the day does at least one of these bookings cover? " + NUMBER,
    )
    body = (
        "def m(t):\n    h, q = t.split(':')\n    return int(h) * 60 + int(q)\n"
        "print(len({x for a, b in rows for x in range(m(a), m(b))}))"
    )
    return _draft("covered", number, text, (("from", "to"), rows), Kind.NUMBER, value, body, 3)


def fifo(random: Random) -> Draft:
    lots = [(random.randint(20, 90), random.randrange(220, 1_900)) for _ in range(6)]
    sold = random.randint(lots[0][0] + 20, sum(count for count, _ in lots[:5]))
    value, left = 0, sold
    for count, price in lots:
        taken = min(count, left)
        value, left = value + taken * price, left - taken
    rows: list[Row] = [[number, count, f"{price / 100:.2f}"] for number, (count, price) in enumerate(lots, start=1)]
    number, text = say(
        random,
        "Lots were bought in this order. {sold} pieces are sold, the oldest first. What did those pieces cost to buy? "
        + AMOUNT,
        "By first in, first out, what is the purchase cost of {sold} pieces taken from this stock? " + AMOUNT,
        sold=sold,
    )  # fmt: skip
    body = (
        f"left, cost = {sold}, 0\nfor _, n, p in rows:\n    k = min(int(n), left)\n"
        "    cost += k * round(float(p) * 100)\n    left -= k\nprint(cost / 100)"
    )
    return _draft("fifo", number, text, (("lot", "pieces", "price"), rows), Kind.MONEY, value, body, 3)


def cheapest_way(random: Random) -> Draft:
    towns = random.sample(TOWNS, 6)
    roads = {(a, b): random.randrange(12, 95) for n, a in enumerate(towns) for b in towns[n + 1 :] if random.random() < 0.6}  # noqa: PLR2004
    value = _shortest(roads, towns[0], towns[-1])
    direct = roads.get((towns[0], towns[-1]))
    _need(value is not None and (direct is None or value < direct))
    rows: list[Row] = [[a, b, km] for (a, b), km in random.sample(sorted(roads.items()), len(roads))]
    number, text = say(
        random,
        "The roads go both ways. How many kilometres is the shortest way from {a} to {b}? " + NUMBER,
        "What is the least number of kilometres from {a} to {b} on these roads, which go both ways? " + NUMBER,
        a=towns[0], b=towns[-1],
    )  # fmt: skip
    body = (
        f"best = {{{towns[0]!r}: 0}}\nfor _ in rows:\n    for a, b, k in rows:\n        for x, y in ((a, b), (b, a)):\n"
        "            if x in best and best[x] + int(k) < best.get(y, 10**9):\n                best[y] = best[x] + int(k)\n"
        f"print(best[{towns[-1]!r}])"
    )
    return _draft("cheapest_way", number, text, (("town", "town", "km"), rows), Kind.NUMBER, value or 0, body, 3)


def busiest(random: Random) -> Draft:
    rows: list[Row] = [
        [random.choice(CLIENTS), random.choice((200, 200, 200, 404, 500)), random.randrange(120, 9_900)] for _ in range(16)
    ]
    totals: defaultdict[str, int] = defaultdict(int)
    for client, status, size in rows:
        if status == 200:  # noqa: PLR2004 - the status of success
            totals[str(client)] += int(size)
    ranked = sorted(totals.values())
    _need(len(ranked) > 1 and ranked[-1] > ranked[-2])
    number, text = say(
        random,
        "Counting only lines with status 200, how many bytes did the client get that got most? " + NUMBER,
        "Sum the bytes of successful lines (status 200) by client. What is the largest of these sums? " + NUMBER,
    )
    body = (
        "total = {}\nfor c, s, b in rows:\n    if s == '200':\n        total[c] = total.get(c, 0) + int(b)\n"
        "print(max(total.values()))"
    )
    return _draft("busiest", number, text, (("client", "status", "bytes"), rows), Kind.NUMBER, ranked[-1], body, 2)


def trimmed(random: Random) -> Draft:
    values = [random.randrange(110, 990) for _ in range(random.randint(10, 14))]
    kept = sorted(values)[2:-2]
    value = rounded(Fraction(sum(kept), len(kept)), 2)
    number, text = say(
        random,
        "Leave out the two smallest and the two largest measurements. What is the mean of the rest, to two decimals? " + NUMBER,
        "What is the mean of these measurements without the two highest and the two lowest, to two decimals? " + NUMBER,
    )
    body = "v = sorted(int(x) for _, x in rows)[2:-2]\nprint(round(sum(v) / len(v), 2))"
    rows: list[Row] = [[place, one] for place, one in enumerate(values, start=1)]
    return _draft("trimmed", number, text, (("no", "value"), rows), Kind.NUMBER, value, body, 2)


def debtor(random: Random) -> Draft:
    names = random.sample(PEOPLE, 5)
    rows: list[Row] = [
        [random.choice(names), random.choice(("invoice", "invoice", "payment")), random.randrange(1_000, 90_000)]
        for _ in range(16)
    ]
    owed = dict.fromkeys(names, 0)
    for name, kind, amount in rows:
        owed[str(name)] += int(amount) if kind == "invoice" else -int(amount)
    ranked = sorted(owed, key=lambda name: -owed[name])
    _need(owed[ranked[0]] > max(0, owed[ranked[1]]))
    shown = [[name, kind, usd(int(amount)).removeprefix("$")] for name, kind, amount in rows]
    number, text = say(
        random,
        "After all invoices and payments, who owes us most? " + NAME,
        "Set payments against invoices: whose open amount is the largest? " + NAME,
    )
    body = (
        "owed = {}\nfor n, k, a in rows:\n    owed[n] = owed.get(n, 0) + (1 if k == 'invoice' else -1) * float(a)\n"
        "print(max(owed, key=owed.get))"
    )
    return _draft(
        "debtor", number, text, (("customer", "kind", "amount"), shown), Kind.TEXT, ranked[0], body, 2, others=ranked[1:]
    )


GENERATORS: Final[Sequence[Generator]] = (
    orders, longest_run, weighted_best, covered, fifo, cheapest_way, busiest, trimmed, debtor,
)  # fmt: skip


def _need(holds: bool) -> None:
    if not holds:
        raise UnsuitableDraftError


def _draft(
    name: str,
    number: int,
    text: str,
    table: tuple[Sequence[str], Sequence[Row]],
    kind: Kind,
    value: str | float,
    body: str,
    steps: int,
    *,
    others: Iterable[str] = (),
) -> Draft:
    columns, rows = table
    lines = "\n".join(",".join(map(str, row)) for row in rows)
    program = f'table = """{lines}"""\nrows = [line.split(",") for line in table.splitlines()]\n{body}\n'
    return Draft(
        template=f"{name}.{number}",
        question=f"{text}\n\n{','.join(columns)}\n{lines}",
        kind=kind,
        value=value,
        topic="code",
        need=Need.CODE,
        cluster=f"code/{name}",
        steps=steps,
        others=tuple(others),
        tool=PYTHON,
        argument=program,
    )


def _runs(readings: Iterable[int], limit: int) -> Iterable[list[int]]:
    run: list[int] = []
    for reading in (*readings, -1):
        if reading > limit:
            run.append(reading)
        elif run:
            yield run
            run = []


def _shortest(roads: Mapping[tuple[str, str], int], start: str, goal: str) -> int | None:
    """Dijkstra over roads that go both ways; None if there is no way."""
    ways: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for (a, b), km in roads.items():
        ways[a].append((km, b))
        ways[b].append((km, a))
    queue, done = [(0, start)], set[str]()
    while queue:
        far, town = heapq.heappop(queue)
        if town == goal:
            return far
        if town not in done:
            done.add(town)
            for km, other in ways[town]:
                heapq.heappush(queue, (far + km, other))
    return None


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"
