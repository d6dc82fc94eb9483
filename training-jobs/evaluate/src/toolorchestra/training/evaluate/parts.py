"""The tables of a report: success by suite and topic, skills of experts, and the worst cases."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from toolorchestra.core.money import format_usd
from toolorchestra.training.evaluate.measures import dollars, over_tasks, task_id
from toolorchestra.training.evaluate.records import Episode


@dataclass(frozen=True, slots=True)
class Cell:
    """Success of one policy on a part of the tasks; ``n`` counts tasks."""

    success: float
    cost_per_task: float
    n: int


@dataclass(frozen=True, slots=True)
class PartRow:
    """A suite (``topic`` is empty) or a topic of it, with a cell for each policy that did any of it."""

    suite: str
    topic: str
    cells: Mapping[str, Cell]


@dataclass(frozen=True, slots=True)
class Worst:
    """A failed episode worth looking at; ``link`` leads to its run. ``others``: policies that solved the same task."""

    policy: str
    suite: str
    task: str
    cost_usd: str
    latency_ms: int
    turns: int
    error: str
    others: tuple[str, ...]
    link: str


@dataclass(frozen=True, slots=True)
class SkillRow:
    """An expert on a topic. ``simulated``: the mean chance of being right that was drawn; ``measured``: the share that was.

    ``measured`` is None where the expert did not play alone; ``n`` counts tasks. ``real``: a tool or model that is not one;
    ``simulated`` is then what is taken for granted of it, ``n`` how many questions it was called for, ``note`` why it was not.
    """

    expert: str
    topic: str
    simulated: float
    measured: float | None
    n: int
    real: bool = False
    note: str = ""


def part_rows(by_policy: Mapping[str, list[Episode]]) -> Iterator[PartRow]:
    """Suites first, then their topics, by name."""
    rows: dict[tuple[str, str], dict[str, list[Episode]]] = defaultdict(lambda: defaultdict(list))
    for policy, episodes in by_policy.items():
        for episode in episodes:
            for topic in {"", episode.topic}:
                rows[episode.suite, topic][policy].append(episode)
    for suite, topic in sorted(rows, key=lambda row: (bool(row[1]), row)):
        yield PartRow(suite, topic, {policy: _cell(episodes) for policy, episodes in rows[suite, topic].items()})


def _cell(episodes: Sequence[Episode]) -> Cell:
    success, tasks = over_tasks(episodes, lambda episode: episode.success)
    cost_per_task, _ = over_tasks(episodes, dollars)
    return Cell(success, cost_per_task, tasks)


def worst_cases(
    policies: Sequence[str], by_policy: Mapping[str, list[Episode]], *, most: int, run_link: str
) -> Iterator[Worst]:
    """Failures of these policies: first those that most others solved, then the dearest."""
    solved: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for name, episodes in by_policy.items():
        for episode in episodes:
            if episode.success:
                solved[task_id(episode)].add(name)
    failed = [episode for name in policies for episode in by_policy[name] if not episode.success]
    failed.sort(key=lambda e: (-len(solved[task_id(e)] - {e.policy}), -e.cost_nano_usd, -e.latency_ms, e.key))
    for episode in failed[:most]:
        yield Worst(
            policy=episode.policy,
            suite=episode.suite,
            task=episode.task,
            cost_usd=format_usd(episode.cost_nano_usd),
            latency_ms=episode.latency_ms,
            turns=episode.turns,
            error=_wrong(episode),
            others=tuple(sorted(solved[task_id(episode)] - {episode.policy})),
            link=_link(run_link, episode.run_id),
        )


def _wrong(episode: Episode) -> str:
    if episode.error is None:
        return episode.error_message or "wrong answer"
    return f"{episode.error}: {episode.error_message}".rstrip(": ")


def _link(template: str, run_id: str | None) -> str:
    return template.replace("{run_id}", quote(run_id, safe="")) if template and run_id else ""
