"""A set of worlds, as ``toolorchestra worlds build`` makes and reads it: a folder per world, beside them manifest.json."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any, Final

from toolorchestra.training.toolscale.building import build_domain
from toolorchestra.training.toolscale.defaults import JOBS, SEED, TASKS
from toolorchestra.training.toolscale.domain import domain_names, find_domain
from toolorchestra.training.toolscale.endpoint import Endpoint
from toolorchestra.training.toolscale.errors import InvalidBuildError
from toolorchestra.training.toolscale.making import PARTIAL, Hear, Made, Order, canonical, make_all
from toolorchestra.training.toolscale.splits import SPLITS
from toolorchestra.worlds.loading import ROWS, SPEC, find_world, load_tasks, load_world
from toolorchestra.worlds.loading import TASKS as TASK_FILE
from toolorchestra.worlds.tasks import Task
from toolorchestra.worlds.world import World

MANIFEST, REPORT, PAGE = "manifest.json", "report.json", "report.md"
FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Request:
    """What to build. ``domains`` empty: all that are installed. ``count`` is of tasks per domain."""

    folder: Path
    domains: Sequence[str] = ()
    count: int = TASKS
    seed: int = SEED
    jobs: int = JOBS
    endpoint: Endpoint | None = None

    def orders(self) -> list[Order]:
        """One per domain, in order of their names. Raises InvalidBuildError or InvalidWorldError for what cannot be."""
        for name, value in (("tasks", self.count), ("jobs", self.jobs)):
            if value < 1:
                raise InvalidBuildError(f"{name}: {value} is too few", param=name, hint="give at least 1")
        names = sorted(set(self.domains)) or domain_names()
        for name in names:
            find_domain(name)
        return [Order(name, self.seed, self.count, self.folder, self.endpoint) for name in names]


@dataclass(frozen=True, slots=True)
class WorldSet:
    """A built set, read back: its manifest, and each world with its tasks."""

    folder: Path
    manifest: Mapping[str, Any]
    worlds: Mapping[str, World]
    tasks: Mapping[str, Sequence[Task]]

    @property
    def all_tasks(self) -> list[Task]:
        return [task for tasks in self.tasks.values() for task in tasks]


def build(request: Request, hear: Hear) -> WorldSet:
    """Build and write a set, and read it back. Raises InvalidBuildError if the folder holds anything else."""
    orders = request.orders()
    _clear(request.folder, {order.domain for order in orders})
    made = make_all(orders, jobs=request.jobs, hear=hear)
    (request.folder / MANIFEST).write_text(canonical(manifest_of(request, made)), encoding="utf-8")
    return read_set(request.folder)


def manifest_of(request: Request, made: Sequence[Made]) -> dict[str, Any]:
    """What was built, of what: nothing that differs between two builds of the same."""
    return {
        "format": FORMAT,
        "toolscale": version("toolorchestra-toolscale"),
        "worlds_runtime": version("toolorchestra-worlds"),
        "seed": request.seed,
        "tasks_per_domain": request.count,
        "wording_model": request.endpoint.model if request.endpoint else None,
        "held_out": {one.domain: _held_out(one.domain) for one in made},
        "worlds": {one.domain: one.as_json() for one in made},
    }


def read_set(folder: Path) -> WorldSet:
    """A built set. Raises InvalidBuildError for a folder without manifest, InvalidWorldError for a broken world in it."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        names = sorted(manifest["worlds"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        hint = "name a folder that `toolorchestra worlds build` has written"
        raise InvalidBuildError(f"{path}: is no manifest of a build: {error}", param="folder", hint=hint) from error
    worlds = {name: load_world(folder / name) for name in names}
    return WorldSet(folder, manifest, worlds, {name: tuple(load_tasks(folder / name)) for name in names})


def split_counts(tasks: Sequence[Task]) -> dict[str, int]:
    """Tasks per split; one with several held-out parts counts in each."""
    return {name: sum(name in task.split for task in tasks) for name in SPLITS}


def _held_out(domain: str) -> Mapping[str, Any]:
    division = find_domain(domain).division
    templates = [f"{intent}.{number}" for intent, numbers in division.templates.items() for number in sorted(numbers)]
    return {"whole": division.whole, "intents": sorted(division.intents), "templates": sorted(templates)}


def _clear(folder: Path, domains: set[str]) -> None:
    """Make the folder ready: only what an earlier build of these domains has left may stand in it.

    What is refused stays as it was. Else the old manifest and report go before worlds come that they do not describe.
    """
    _make_folder(folder)
    files = {MANIFEST, REPORT, PAGE}
    known = {*files, *domains, *domain_names()}
    for path in sorted(folder.iterdir()):
        if path.name.removesuffix(PARTIAL) not in known or path.is_file() == (path.name not in files):
            hint = "name an empty folder, or that of an earlier build"
            raise InvalidBuildError(f"out: {path} is in the way", param="out", hint=hint)
    if stray := [path for path in folder.glob(f"*/{SPEC}") if path.parent.name not in domains]:
        hint = "name another folder, or remove it"
        raise InvalidBuildError(f"out: {stray[0].parent} is of another build", param="out", hint=hint)
    for name in files:
        (folder / name).unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        hint = "name a folder, or a place where one can be made"
        raise InvalidBuildError(f"out: {folder} cannot be made: {error.strerror}", param="out", hint=hint) from error


def world_with_tasks(where: str, count: int, seed: int) -> tuple[World, list[Task]]:
    """A world by its folder, or a shipped one by name, and up to ``count`` of its tasks.

    Shipped worlds have neither rows nor tasks: both are drawn with the seed. Raises InvalidWorldError or InvalidBuildError.
    """
    path = find_world(where)
    if (path / ROWS).is_dir():
        tasks = islice(load_tasks(path), count) if (path / TASK_FILE).is_file() else ()
        return load_world(path), list(tasks)
    if path.name not in domain_names():
        raise InvalidBuildError(f"world: {path} has no rows and no domain that draws them", param="world", hint="add rows/")
    built = build_domain(find_domain(path.name), seed=seed, count=count)
    return built.world, list(built.tasks)


def tasks_below(folder: Path) -> list[Task]:
    """The tasks of a world's folder, or of all worlds of a set."""
    if (folder / SPEC).is_file():
        return list(load_tasks(folder))
    return read_set(folder).all_tasks
