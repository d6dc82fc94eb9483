"""What the commands about worlds do. Loaded by them only when they run: worlds, NumPy and YAML take a while."""

import time
from pathlib import Path

import yaml
from rich.progress import track

from toolorchestra.cli.shell import Shell
from toolorchestra.cli.views.worlds import (
    BuildLines,
    build_table,
    list_table,
    policy_excerpt,
    print_finding,
    print_tasks,
    tables_table,
    tools_table,
)
from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.training.toolscale.domain import domain_names
from toolorchestra.training.toolscale.endpoint import Endpoint
from toolorchestra.training.toolscale.page import page_of, put_into, sample_of, task_page
from toolorchestra.training.toolscale.qa.building import build_questions
from toolorchestra.training.toolscale.qa.dividing import question_splits
from toolorchestra.training.toolscale.report import make_report, require_sound, save_report
from toolorchestra.training.toolscale.worldset import Request, build, read_set, tasks_below, world_with_tasks
from toolorchestra.worlds.inspection import Inspection
from toolorchestra.worlds.loading import SHIPPED, load_definition, worlds_in
from toolorchestra.worlds.questions import write_questions
from toolorchestra.worlds.serving import mcp_tool_of, tools_of


def endpoint_of(url: str | None, model: str | None) -> Endpoint | None:
    """The model that words things, if both options say which. Raises InvalidRequestError for half of it."""
    if url is None and model is None:
        return None
    if not url or not model:
        missing = "llm-model" if url else "llm-url"
        raise InvalidRequestError(f"--{missing} is missing", param=missing, hint="give --llm-url and --llm-model, or none")
    return Endpoint(url, model)


def build_worlds(shell: Shell, request: Request) -> None:
    """Build, write the report, and require that the set is sound."""
    began = time.monotonic()
    lines = BuildLines(shell, [order.domain for order in request.orders()], request.count)
    with lines.progress:
        found = build(request, lines.hear)
    report = make_report(found)
    page = page_of(report)
    save_report(found, report, page)
    shell.table(build_table(report), empty="no worlds")
    tasks, seconds = report["total"]["tasks"], time.monotonic() - began
    shell.note(f"{tasks:,} tasks in {seconds:.0f} s; see {request.folder / 'report.md'}")
    require_sound(found)


def write_question_file(shell: Shell, out: Path, count: int, corpus: Path | None, seed: int) -> None:
    """Build questions, write them, and say how many each split has."""
    found = build_questions(seed, count=count, corpus=corpus).questions
    write_questions(out, found)
    splits = ", ".join(f"{number} {name}" for name, number in question_splits(found).items())
    shell.note(f"{len(found):,} questions in {out}: {splits}")


def list_worlds(shell: Shell, *, as_json: bool) -> None:
    """All shipped worlds."""
    found = [load_definition(path) for path in worlds_in(SHIPPED).values()]
    if as_json:
        shell.data([{**one.spec.model_dump(mode="json", exclude={"tables"}), "tools": sorted(one.tools)} for one in found])
    else:
        shell.table(list_table(found, domain_names()), empty="no worlds")


def show_world(shell: Shell, name: str, seed: int, examples: int) -> None:
    """One world with some of its tasks."""
    world, tasks = world_with_tasks(name, examples, seed)
    spec = world.spec
    shell.raw(f"{spec.title}: {spec.description}\nIt is {spec.now} there; money is in {spec.currency}.\n")
    shell.table(tables_table(world), empty="no tables")
    shell.table(tools_table(world), empty="no tools")
    shell.raw(f"{policy_excerpt(world)}\n\n")
    print_tasks(shell, tasks)


def check_world(shell: Shell, folder: str) -> bool:
    """Print what is wrong with a world's tasks; whether all are well."""
    inspection = Inspection(folder)
    faulty = 0
    total = len(inspection.tasks)
    for _, findings in track(inspection.findings(), "checking", total=total, console=shell.err, transient=True):
        faulty += bool(findings)
        for finding in findings:
            print_finding(shell, finding)
    rows = sum(map(len, inspection.world.rows.tables.values()))
    about = f"{len(inspection.world.tools)} tools, {rows} rows, {total} tasks"
    shell.raw(f"{inspection.path.name}: {about}, {faulty} of them faulty\n")
    return not faulty


def print_tools(shell: Shell, name: str, mcp: str | None, seed: int) -> None:
    """The Tool manifests of a world, as YAML."""
    world, _ = world_with_tasks(name, 1, seed)
    where = str(Path(name).resolve()) if Path(name).is_dir() else None
    tools = [mcp_tool_of(world, mcp)] if mcp else tools_of(world, where=where)
    found = [tool.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True) for tool in tools]
    shell.raw(yaml.safe_dump_all(found, sort_keys=False, allow_unicode=True))


def sample_tasks(shell: Shell, folder: Path, count: int, seed: int) -> None:
    """Random tasks, to be read."""
    print_tasks(shell, sample_of(tasks_below(folder), count, seed))


def report_worlds(shell: Shell, folder: Path, docs: Path | None, count: int, seed: int, *, as_json: bool) -> None:
    """The report of a built set: into its folder, and into a page or onto the terminal."""
    found = read_set(folder)
    report = make_report(found)
    page = page_of(report)
    save_report(found, report, page)
    if docs is not None:
        tasks = sample_of(found.all_tasks, count, seed)
        printed = "\n".join(f"#### {number}\n\n{task_page(task)}" for number, task in enumerate(tasks, 1))
        put_into(docs, f"{page}\n### {len(tasks)} random tasks\n\n{printed}" if tasks else page)
    if as_json:
        shell.data(report)
    elif docs is None:
        shell.raw(page)
    require_sound(found)
