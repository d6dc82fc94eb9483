"""``toolorchestra evaluate``: which manager is best for which money, as tables, a page and a picture."""

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from toolorchestra.cli.connection import DEFAULT_STATE, JsonOption, KeyOption, StateOption, UrlOption
from toolorchestra.cli.shell import Shell
from toolorchestra.core.errors import InvalidRequestError

PARTIAL: Final = 3  # it ended early; what was played is kept, and the report says so


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate")(evaluate_command)


def evaluate_command(
    context: typer.Context,
    plan: Annotated[Path | None, typer.Argument(metavar="PLAN.yaml", help="What to play; see docs/howto/evaluate.md.")] = None,
    *,
    quick: Annotated[bool, typer.Option("--quick", help="A small built-in plan on worlds that are built on the way.")] = False,
    out: Annotated[Path, typer.Option("--out", help="Folder of records and report.", file_okay=False)] = Path("evaluation"),
    fresh: Annotated[bool, typer.Option("--fresh/--resume", help="Play everything anew, or only what is missing.")] = False,
    platform: Annotated[
        bool,
        typer.Option(
            "--platform",
            help="Play on a platform: that of --url or --state, which imply it, else of the plan, else one started for it.",
        ),
    ] = False,
    as_json: JsonOption = False,
    url: UrlOption = None,
    key: KeyOption = None,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Play managers on tasks and say what each gets right, what it costs, and how sure that is.

    Without a platform everything is played in this process: the same loop, simulated experts, a virtual clock. What was
    interrupted goes on where it ended. Exit code 3: it ended early, by its budget or by failures, and the report is partial.
    After Ctrl-C or SIGTERM (130, 143) it is partial too.
    """
    # Episodes and embeddings are spread over processes; threads of NumPy, which reads this when it is loaded, would only spin.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from toolorchestra.cli.evaluation import Wanted, evaluate, quick_plan  # noqa: PLC0415 - only this command waits for NumPy

    shell = context.ensure_object(Shell)
    if quick == (plan is not None):
        raise InvalidRequestError("give a plan, or --quick", param="plan", hint="`toolorchestra evaluate --quick` shows one")
    named, local = _is_said(context, "url"), _is_said(context, "state")
    if platform and url is None:
        local = local or _is_set(context, "state")
    wanted = Wanted(
        out=out,
        fresh=fresh,
        platform=platform or named or local,
        url=url,
        key=key,
        state=state,
        local=local and not named,
        as_json=as_json,
    )
    found = evaluate(shell, quick_plan(shell, out) if plan is None else plan, wanted)
    if found.partial:
        raise typer.Exit(PARTIAL)


def _is_said(context: typer.Context, option: str) -> bool:
    """Whether it stands on the command line: a variable of the shell is there for other commands too."""
    return _source(context, option) == "COMMANDLINE"


def _is_set(context: typer.Context, option: str) -> bool:
    """Whether anybody said it, there or in a variable of the shell."""
    return _source(context, option) in ("COMMANDLINE", "ENVIRONMENT")


def _source(context: typer.Context, option: str) -> str:
    source = context.get_parameter_source(option)
    return "" if source is None else source.name
