"""Builds a domain: rows, then candidates, then verification. The same seed gives the same bytes."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from toolorchestra.training.toolscale.composing import Composed, Composer, Intent, UnsuitableError, with_needs
from toolorchestra.training.toolscale.domain import Domain
from toolorchestra.training.toolscale.draws import chance, generator, some, weighted
from toolorchestra.training.toolscale.people import draw_preference
from toolorchestra.training.toolscale.splits import TEMPLATE_TASKS, Division
from toolorchestra.training.toolscale.wording import Worded, Writer
from toolorchestra.worlds.loading import POLICY, ROWS, SPEC, TASKS, find_world, load_definition
from toolorchestra.worlds.rows import fold
from toolorchestra.worlds.tasks import Fact, GoldenCall, Task, User, signature, write_line
from toolorchestra.worlds.verify import Frequent, first_drop, frequent_values
from toolorchestra.worlds.world import World

CHAINS: Final = ((1, 0.5), (2, 0.35), (3, 0.15))  # how many intents one request joins, and how often
ATTEMPTS: Final = 4  # candidates per wanted task before giving up
DRAWS: Final = 12  # of rows, per candidate
SPARE: Final = 1.2  # candidates per wanted task, since some are dropped
DUPLICATE: Final = "the same was asked before"


@dataclass(frozen=True, slots=True)
class Built:
    """A domain with rows and verified tasks.

    ``drops`` counts what was not kept, by reason; ``attempts`` the candidates that were tried.
    """

    domain: Domain
    world: World
    tasks: Sequence[Task]
    drops: Mapping[str, int] = field(default_factory=dict)
    attempts: int = 0


def build_domain(domain: Domain, *, seed: int, count: int, progress: Callable[[int], None] | None = None) -> Built:
    """``count`` verified tasks over one set of rows, or fewer if the draws run out (``attempts`` then tells).

    ``progress`` is told how many there are, after each one.
    """
    world = draw_world(domain, seed)
    candidates = _Candidates(domain, world, seed)
    kept: list[Task] = []
    drops: Counter[str] = Counter()
    asked: set[str] = set()
    while len(kept) < count and candidates.attempts < ATTEMPTS * count:
        batch = candidates.draw(int((count - len(kept)) * SPARE) + 1, ATTEMPTS * count)
        frequent = frequent_values(candidates.all)
        sound: list[Task] = []
        for task in batch:
            reason = _why_not(world, task, frequent, asked)
            drops.update([reason] if reason else [])
            sound.extend([] if reason else [task])
            if progress is not None:
                progress(min(count, len(kept) + len(sound)))
        kept.extend(_most_even(kept, sound, count - len(kept)))
    drops.update(candidates.unsuitable)
    return Built(domain, world, kept, dict(sorted(drops.items())), candidates.attempts)


def _most_even(kept: Sequence[Task], sound: Sequence[Task], wanted: int) -> list[Task]:
    """So many of the sound ones, rare intents first, in the order in which they were drawn."""
    counts = Counter(map(_first_intent, kept))
    ranked: list[tuple[int, int]] = []
    for place, task in enumerate(sound):
        ranked.append((counts[_first_intent(task)], place))
        counts[_first_intent(task)] += 1
    return [sound[place] for place in sorted(place for _, place in sorted(ranked)[:wanted])]


def _first_intent(task: Task) -> str:
    return task.intent.partition("+")[0]


def draw_world(domain: Domain, seed: int) -> World:
    """The domain's world with its rows."""
    return load_definition(domain.world).world(domain.draw_rows(generator(seed, domain.name, "rows")))


def write_domain(built: Built, folder: Path) -> Path:
    """The world as a folder that ``load_world`` reads: the domain's files, rows and tasks. Returns it."""
    source, target = find_world(built.domain.world), folder / built.domain.name
    (target / ROWS).mkdir(parents=True, exist_ok=True)
    for path in (source / SPEC, *sorted(source.glob("*.py")), source / POLICY):
        if path.exists():
            shutil.copyfile(path, target / path.name)
    for table, rows in built.world.rows.tables.items():
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows.values())
        (target / ROWS / f"{table}.jsonl").write_text("".join(lines), encoding="utf-8")
    (target / TASKS).write_text("".join(map(write_line, built.tasks)), encoding="utf-8")
    return target


def compose(domain: Domain, world: World, random: Random, first: Intent, wording_seed: int) -> Task:
    """One task that begins with this intent. Raises UnsuitableError if the rows drawn do not allow for it."""
    composer, division = Composer(world, random), domain.division
    held_out = bool(division.templates.get(first.name)) and chance(random, TEMPLATE_TASKS)
    intents = _chain(domain, division, random, first, held_out_template=held_out)
    for intent in intents:
        composer.perform(intent)
    requests = {intent.name: division.numbers(intent.name, held_out_template=held_out) for intent in intents}
    writer = Writer(domain.wording, generator(wording_seed, domain.name, "wording"), world.spec.currency, requests)
    worded = writer.write(composer.done.parts, composer.done.identity)
    golden = with_needs(composer.done.golden, composer.session.results, worded.text, world.spec.clock.year)
    task = _task(world, composer.done, golden, worded, wording_seed, random)
    split = division.tags([intent.name for intent in intents], held_out_template=held_out, key=task.golden_key)
    return task.model_copy(update={"split": split})


def _chain(domain: Domain, division: Division, random: Random, first: Intent, *, held_out_template: bool) -> list[Intent]:
    """The intents that one request joins, all on the same side of what is held out."""
    others = division.companions(first.name, held_out_template=held_out_template)
    names = [first.name, *some(random, others, weighted(random, *CHAINS) - 1)]
    known = {intent.name: intent for intent in domain.intents}
    return [known[name] for name in names]


def _task(world: World, done: Composed, golden: tuple[GoldenCall, ...], worded: Worded, seed: int, random: Random) -> Task:
    user = User(
        persona=worded.persona,
        opening=worded.text,
        known=done.known,
        unknown=tuple(done.unknown),
        preference=draw_preference(random),
    )
    steps = [f"{part.intent}:{step}" for part in done.parts for step in part.steps]
    joined = [f"and:{part.intent}" for part in done.parts[1:]]
    key = signature(one.call for one in golden)
    return Task(
        id=f"{world.name}-{key[:10]}-{seed:x}",
        world=world.name,
        intent="+".join(part.intent for part in done.parts),
        template=worded.template,
        seed=seed,
        user=user,
        golden=golden,
        facts=tuple(done.facts),
        evolve=(*steps, *joined),
        difficulty=_difficulty(world, golden, done.facts, len(done.parts)),
    )


def _difficulty(world: World, golden: Sequence[GoldenCall], facts: Sequence[Fact], intents: int) -> dict[str, int]:
    depth: dict[str, int] = {}
    for one in golden:
        depth[one.id] = 1 + max((depth[need] for need in one.needs), default=0)
    writes = sum(world.tools[one.tool].writes for one in golden)
    return {
        "calls": len(golden),
        "writes": writes,
        "facts": len(facts),
        "depth": max(depth.values()),
        "intents": intents,
    }


class _Candidates:
    """Draws candidates, the intents in turn; what was drawn before does not change what comes after."""

    def __init__(self, domain: Domain, world: World, seed: int) -> None:
        self._domain, self._world, self._seed = domain, world, seed
        self.attempts = 0
        self.all: list[Task] = []
        self.unsuitable: Counter[str] = Counter()  # draws of rows, by reason

    def draw(self, count: int, limit: int) -> list[Task]:
        batch: list[Task] = []
        while len(batch) < count and self.attempts < limit:
            batch.extend(self._attempt())
        self.all.extend(batch)
        return batch

    def _attempt(self) -> Iterator[Task]:
        number, intents = self.attempts, self._domain.intents
        self.attempts += 1
        for draw in range(DRAWS):
            random = generator(self._seed, self._domain.name, "task", number, draw)
            try:
                yield compose(self._domain, self._world, random, intents[number % len(intents)], random.getrandbits(32))
            except UnsuitableError as error:
                self.unsuitable[error.reason] += 1
            else:
                return


def _why_not(world: World, task: Task, frequent: Frequent, asked: set[str]) -> str | None:
    """Why a candidate is not kept; None if it is. What is done by the same calls, or said in the same words, is kept once."""
    wording = fold(task.user.opening)
    if task.golden_key in asked or wording in asked:
        return DUPLICATE
    drop = first_drop(world, task, frequent=frequent)
    if drop is not None:
        return drop.reason.value
    asked.update((task.golden_key, wording))
    return None
