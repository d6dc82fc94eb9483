"""Checking trajectories of the railway world: whole episodes replayed, compared, and their answers read.

Peers: the same work with the state's hash computed over all rows, as a hash of the whole database would, and without reading
answers. Run it with ``python -m tests.bench.worlds``. With ``--positives 1000`` it plays instead the golden episode and the
variants of it that must pass (another order, more reads, another look-up path, a refused call first, a reworded answer) of that
many tasks of two worlds, drawn with a seed that verification did not use, and counts those that do not pass.
"""

import argparse
import time
from collections import Counter
from collections.abc import Callable, Sequence

from toolorchestra.training.toolscale.building import Built, build_domain
from toolorchestra.training.toolscale.domain import find_domain
from toolorchestra.worlds.answers import tell
from toolorchestra.worlds.check import check
from toolorchestra.worlds.rows import HASH_MODULUS
from toolorchestra.worlds.session import Session
from toolorchestra.worlds.tasks import Task
from toolorchestra.worlds.verify import variants

TASKS = 60
WORLDS = ("railway", "ecommerce")
VARIANTS = ("golden", "reordered", "extra_reads", "other_path", "retry", "reworded")
OTHER_SEED = 1


def rate(one: Callable[[int], object], seconds: float) -> float:
    """How often per second, the tasks in turn."""
    began, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < seconds:
        one(count)
        count += 1
    return count / passed


def checked(built: Built, answers: Sequence[str], number: int) -> bool:
    task, answer = built.tasks[number % len(built.tasks)], answers[number % len(built.tasks)]
    # The number makes each answer another text, as answers of a manager are: none is read from a cache.
    return check(built.world, task, task.calls, f"{answer} (ref-{number})").success


def whole_hash(built: Built, number: int) -> int:
    task = built.tasks[number % len(built.tasks)]
    session = Session.replay(built.world, task.calls)
    forms = built.world.rows.formats
    return sum(forms[table].hash(row) for table in forms for row in session.database.rows(table)) % HASH_MODULUS


def replayed(built: Built, number: int) -> int:
    return Session.replay(built.world, built.tasks[number % len(built.tasks)].calls).state_hash


def positives(built: Built) -> tuple[Counter[str], Counter[str]]:
    """How many right episodes of each kind were played, and how many of them did not pass."""
    played: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for task in built.tasks:
        golden = (task.calls, tell(task.facts, currency=built.world.spec.currency))
        for name, (calls, answer) in {"golden": golden, **variants(built.world, task, seed=OTHER_SEED)}.items():
            played[name] += 1
            refused[name] += not check(built.world, task, calls, answer).success
    return played, refused


def count_false_negatives(count: int) -> int:
    played: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for name in WORLDS:
        for total, found in zip(
            (played, refused), positives(build_domain(find_domain(name), seed=3, count=count)), strict=True
        ):
            total.update(found)
    for name in VARIANTS:
        print(f"{played[name]:8} {name:<12} of which {refused[name]} did not pass")
    return 1 if refused.total() or not all(played[name] for name in VARIANTS) else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="per measurement")
    parser.add_argument("--positives", type=int, help="tasks whose right episodes are played, instead of measuring")
    options = parser.parse_args()
    if options.positives:
        return count_false_negatives(-(-options.positives // len(WORLDS)))
    seconds = options.seconds
    began = time.perf_counter()
    built = build_domain(find_domain("railway"), seed=3, count=TASKS)
    building = TASKS / (time.perf_counter() - began)
    answers = [tell(task.facts, currency=built.world.spec.currency) for task in built.tasks]
    if not all(checked(built, answers, number) for number in range(len(built.tasks))):
        print("a golden episode did not pass")
        return 1
    ours = rate(lambda number: checked(built, answers, number), seconds)
    replay = rate(lambda number: replayed(built, number), seconds)
    whole = rate(lambda number: whole_hash(built, number), seconds)
    print(f"{mean_calls(built.tasks):.1f} calls per episode, {sum(map(len, built.world.rows.tables.values()))} rows")
    print(f"{ours:8.0f} trajectory checks/s")
    print(f"{replay:8.0f} replays/s without reading the answer ({replay / ours:.2f} ×)")
    print(f"{whole:8.0f} replays/s with a hash over all rows ({whole / ours:.2f} ×)")
    print(f"{building:8.1f} verified tasks built per second")
    return 0


def mean_calls(tasks: Sequence[Task]) -> float:
    return sum(len(task.golden) for task in tasks) / len(tasks)


if __name__ == "__main__":
    raise SystemExit(main())
