"""The report of a set of worlds: figures, what was dropped and why, splits and what they share. As JSON; ``page`` prints it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from toolorchestra.training.toolscale.contamination import Overlap, as_json, overlaps, require_clean
from toolorchestra.training.toolscale.errors import UnsoundTasksError
from toolorchestra.training.toolscale.figures import rounded, total_figures, wording_figures, world_figures
from toolorchestra.training.toolscale.making import canonical
from toolorchestra.training.toolscale.worldset import PAGE, REPORT, WorldSet, split_counts

# What can be said of the published data: sums of table 5 of the paper; the rest was counted in the last 20 public tasks of each
# of ten domains.
PUBLISHED: Final[Mapping[str, Any]] = {
    "source": "ToolScale (arXiv 2511.21689): domains, tools, rows and tasks from its table 5; the rest counted in a sample of "
    "200 of its public tasks",
    "domains": 10,
    "tools": 197,
    "rows": 7048,
    "tasks": 4063,
    "mean_calls": 3.34,
    "max_calls": 11,
    "sample": 200,
    "without_writes": 143,
    # An end state without writes is right for who does nothing; a text to communicate that the user has said is told by echo.
    "audit": {"leaky": "137 of 200", "no_op": "143 of 200 by their end state", "echo": "at most 137 of 200"},
}


def make_report(found: WorldSet) -> dict[str, Any]:
    """All figures of a set. The same set gives the same report."""
    worlds = {name: _world_report(found, name) for name in found.worlds}
    total = total_figures([world_figures(found.worlds[name], found.tasks[name]) for name in found.worlds])
    return {
        "seed": found.manifest["seed"],
        "total": rounded(asdict(total)),
        "wording": rounded(asdict(wording_figures(found.all_tasks))),
        "audit": dict(_summed(found, "audit")),
        "drops": dict(_summed(found, "drops")),
        "attempts": sum(about["attempts"] for about in found.manifest["worlds"].values()),
        "splits": split_counts(found.all_tasks),
        "contamination": as_json(overlaps(found.all_tasks)),
        "worlds": worlds,
        "published": PUBLISHED,
    }


def save_report(found: WorldSet, report: Mapping[str, Any], page: str) -> None:
    """Write report.json and report.md into the set's folder."""
    (found.folder / REPORT).write_text(canonical(report), encoding="utf-8")
    (found.folder / PAGE).write_text(page, encoding="utf-8")


def require_sound(found: WorldSet, contamination: Sequence[Overlap] | None = None) -> None:
    """Raises UnsoundTasksError or ContaminatedSplitsError for a set that nobody should learn from or be judged by."""
    faults = {name: count for name, count in _summed(found, "audit").items() if count}
    if faults:
        names = ", ".join(f"{count} {name}" for name, count in faults.items())
        worlds = ", ".join(name for name, about in found.manifest["worlds"].items() if any(about["audit"].values()))
        raise UnsoundTasksError(
            f"tasks pass for those who do not solve them: {names}, in {worlds}",
            param="tasks",
            hint=f"see {found.folder / REPORT}",
        )
    require_clean(overlaps(found.all_tasks) if contamination is None else contamination)


def _world_report(found: WorldSet, name: str) -> dict[str, Any]:
    world, tasks, about = found.worlds[name], found.tasks[name], found.manifest["worlds"][name]
    return {
        "title": world.spec.title,
        "figures": rounded(asdict(world_figures(world, tasks))),
        "wording": rounded(asdict(wording_figures(tasks))),
        "splits": split_counts(tasks),
        "asked_for": found.manifest["tasks_per_domain"],
        **{key: about[key] for key in ("attempts", "drops", "audit", "reworded")},
    }


def _summed(found: WorldSet, key: str) -> Counter[str]:
    total: Counter[str] = Counter()
    for about in found.manifest["worlds"].values():
        for name, count in about[key].items():
            total[name] += count
    return total
