"""``toolorchestra worlds``: build executable companies with tasks, look at them, check one's own. Needs no platform."""

from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from toolorchestra.cli.connection import JsonOption
from toolorchestra.cli.shell import Shell
from toolorchestra.training.toolscale.defaults import JOBS, KEY, PRINTED, QUESTIONS, SEED, TASKS

FAILED: Final = 1
EXAMPLES: Final = 3
SeedOption: TypeAlias = Annotated[int, typer.Option("--seed", help="Seed of all draws: the same gives the same bytes.")]
SetArgument: TypeAlias = Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder that `worlds build` has written.")]
WorldArgument: TypeAlias = Annotated[str, typer.Argument(metavar="WORLD", help="Name of a shipped world, or a world's folder.")]


def create_group() -> typer.Typer:
    """The commands about worlds."""
    about = "Executable companies whose tasks can be checked: what managers are trained and judged on."
    group = typer.Typer(name="worlds", no_args_is_help=True, help=about)
    for name, command in (
        ("build", build_command),
        ("questions", questions_command),
        ("list", list_command),
        ("show", show_command),
        ("check", check_command),
        ("tools", tools_command),
        ("sample", sample_command),
        ("report", report_command),
    ):
        group.command(name)(command)
    return group


def build_command(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", help="Folder to write; empty, or that of an earlier build.")] = Path("worlds"),
    domains: Annotated[str | None, typer.Option("--domains", help="Names, joined by commas. Default: all.")] = None,
    tasks: Annotated[int, typer.Option("--tasks", help="Tasks per domain.")] = TASKS,
    seed: SeedOption = SEED,
    jobs: Annotated[int, typer.Option("--jobs", help="Domains built at the same time.")] = JOBS,
    llm_url: Annotated[
        str | None, typer.Option("--llm-url", help=f"OpenAI-compatible address of a model that words things; key in ${KEY}.")
    ] = None,
    llm_model: Annotated[str | None, typer.Option("--llm-model", help="Name of that model.")] = None,
) -> None:
    """Build worlds with verified tasks, offline and the same every time.

    Fails if anything held out stands among the tasks for learning, or if a kept task passes without being solved.
    """
    from toolorchestra.cli.worldwork import build_worlds, endpoint_of
    from toolorchestra.training.toolscale.worldset import Request

    names = [name.strip() for name in (domains or "").split(",") if name.strip()]
    request = Request(out, names, tasks, seed, jobs, endpoint_of(llm_url, llm_model))
    build_worlds(context.ensure_object(Shell), request)


def questions_command(
    context: typer.Context,
    out: Annotated[Path, typer.Option("--out", help="File to write, as JSON lines.")] = Path("questions.jsonl"),
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="About so many questions.")] = QUESTIONS,
    corpus: Annotated[
        Path | None, typer.Option("--corpus", help="Folder of topic/name.md documents to ask about. Default: the shipped ones.")
    ] = None,
    seed: SeedOption = SEED,
) -> None:
    """Build questions that need search, arithmetic, code or knowledge, with the splits to learn from and to be judged by.

    Fails if a document or template that is held out stands among the questions for learning.
    """
    from toolorchestra.cli.worldwork import write_question_file

    write_question_file(context.ensure_object(Shell), out, count, corpus, seed)


def list_command(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the shipped worlds."""
    from toolorchestra.cli.worldwork import list_worlds

    list_worlds(context.ensure_object(Shell), as_json=as_json)


def show_command(
    context: typer.Context,
    name: WorldArgument,
    seed: SeedOption = SEED,
    examples: Annotated[int, typer.Option("--examples", min=1, help="Tasks to show.")] = EXAMPLES,
) -> None:
    """Show a world: tables, tools, the beginning of its policy, and some tasks."""
    from toolorchestra.cli.worldwork import show_world

    show_world(context.ensure_object(Shell), name, seed, examples)


def check_command(
    context: typer.Context, folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Folder of a world.")]
) -> None:
    """Check a world of your own: its files, and whether each task passes for all who solve it and for nobody else."""
    from toolorchestra.cli.worldwork import check_world

    if not check_world(context.ensure_object(Shell), folder):
        raise typer.Exit(FAILED)


def tools_command(
    context: typer.Context,
    name: WorldArgument,
    mcp: Annotated[str | None, typer.Option("--mcp", help="Address of the world's MCP server. Default: the plug-in.")] = None,
    seed: SeedOption = SEED,
) -> None:
    """Print the Tool manifests by which a platform serves a world's tools."""
    from toolorchestra.cli.worldwork import print_tools

    print_tools(context.ensure_object(Shell), name, mcp, seed)


def sample_command(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of a world, or of many as `worlds build` writes.")],
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Tasks to print.")] = PRINTED,
    seed: SeedOption = SEED,
) -> None:
    """Print random tasks, to be read and judged by a person."""
    from toolorchestra.cli.worldwork import sample_tasks

    sample_tasks(context.ensure_object(Shell), folder, count, seed)


def report_command(
    context: typer.Context,
    folder: SetArgument,
    docs: Annotated[Path | None, typer.Option("--docs", help="Page to put tables and tasks into.")] = None,
    count: Annotated[int, typer.Option("-n", "--count", min=0, help="Random tasks to put into the page.")] = PRINTED,
    seed: SeedOption = SEED,
    as_json: JsonOption = False,
) -> None:
    """Report on built worlds: figures beside the published data, drops, wording, splits and what they share."""
    from toolorchestra.cli.worldwork import report_worlds

    report_worlds(context.ensure_object(Shell), folder, docs, count, seed, as_json=as_json)
