"""The ``toolorchestra`` command: reads the command line, and turns every error into a sentence and an exit code.

Exit codes: 0 done; 1 it failed; 2 the command line is wrong; 130 interrupted.
"""

import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, Final, TextIO

import typer

from toolorchestra.cli.commands import ask, budget, evaluate, keys, models, quickstart, runs, tools, train, up, usage, worlds
from toolorchestra.cli.shell import Shell
from toolorchestra.core.errors import InvalidRequestError, ToolOrchestraError

FAILURE: Final = 1
USAGE: Final = 2
DEBUG_FLAG: Final = "--debug"


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"toolorchestra {version('toolorchestra-cli')}")
        raise typer.Exit


def _global_options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option(DEBUG_FLAG, help="Show the whole traceback of an error.")] = False,
) -> None:
    """Ask a question; a manager calls tools and models until it can answer, and tells what that cost."""
    del version, debug  # both are read elsewhere


def create_app() -> typer.Typer:
    """The command with its subcommands."""
    app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich")
    app.callback()(_global_options)
    up.register(app)
    ask.register(app)
    quickstart.register(app)
    models.register(app)
    usage.register(app)
    evaluate.register(app)
    train.register(app)
    for group in (runs, tools, budget, keys, worlds):
        app.add_typer(group.create_group())
    return app


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code. Raises only to show a traceback that was asked for."""
    try:
        create_app()(args=list(arguments), prog_name="toolorchestra")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else FAILURE
    except Exception as error:  # the edge: a user gets a sentence, whatever happened
        if DEBUG_FLAG in arguments:
            raise
        return _explain(error)
    return 0


def _explain(error: Exception) -> int:
    shell = Shell()
    if isinstance(error, ToolOrchestraError):
        shell.error(error.message, hint=error.hint)
        return USAGE if isinstance(error, InvalidRequestError) else FAILURE
    hint = f"this is a fault of the program; `toolorchestra {DEBUG_FLAG} …` shows where"
    shell.error(f"{type(error).__name__}: {error}", hint=hint)
    return FAILURE


def _never_fail_to_print(stream: TextIO) -> None:
    """Characters that a terminal's encoding lacks are replaced instead of ending the command."""
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")


def main() -> None:
    """The entry point."""
    _never_fail_to_print(sys.stdout)
    _never_fail_to_print(sys.stderr)
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
