"""``toolorchestra quickstart``: three real questions to a real platform, from nothing to an answer with its price."""

import asyncio
import shutil
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from toolorchestra.cli.asking import Question
from toolorchestra.cli.client import Client
from toolorchestra.cli.commands.ask import ask_aloud
from toolorchestra.cli.commands.up import EXIT_BY_SIGNAL, show_welcome, tell, until_told
from toolorchestra.cli.connection import DEFAULT_STATE, Connection, NotRunningError, StateOption
from toolorchestra.cli.embedded.supervisor import Supervisor
from toolorchestra.cli.platform.options import UpOptions, usual_port
from toolorchestra.cli.platform.start import Platform, Starter
from toolorchestra.cli.shell import Shell

# An expression for the calculator, a question that the product's own documents answer, and one for the model alone.
QUESTIONS: Final = (
    "What is 17.5% of 2,340?",
    "For how long are the contents of runs kept?",
    "Write one sentence about the sea.",
)
GO_ON: Final = (
    ("{command} up", "keep it running, and point any OpenAI client at it"),
    ('{command} ask "…"', "ask from the command line"),
    ("mkdir manifests", "a Tool of your own in there is read at once; infra/examples/manifests/first-tool.yaml is one"),
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("quickstart")(quickstart_command)


def quickstart_command(
    context: typer.Context,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port on 127.0.0.1. Default: 8080, or a free one.")] = None,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Start a platform if none runs here, ask three questions, show what they did and cost, and stop it again."""
    shell = context.ensure_object(Shell)
    asyncio.run(until_told(_quickstart(shell, UpOptions(state=state, port=port or usual_port()))))


async def _quickstart(shell: Shell, options: UpOptions) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with AsyncExitStack() as stack:
        platform = _running(options)
        supervisor = None
        if platform is None:
            shell.note("starting PostgreSQL, Valkey, a small local model and the platform …")
            supervisor = await stack.enter_async_context(Supervisor(options.state))
            platform = await Starter(options, tell=lambda name, ms: tell(shell, name, ms)).start(supervisor)
        await _while_running(supervisor, asyncio.create_task(asyncio.to_thread(_ask_all, shell, platform)))
        shell.out.print()
        await asyncio.to_thread(show_welcome, shell, platform)
        shell.out.print(_go_on())
        shell.note(f"done after {loop.time() - began:.1f} s" + ("; stopping what was started" if supervisor else ""))


async def _while_running(supervisor: Supervisor | None, work: asyncio.Task[None]) -> None:
    """Do the work; a part that ends meanwhile is the reason to tell, not what the work then ran into."""
    if supervisor is None:
        await work
        return
    watch = asyncio.create_task(supervisor.wait())
    try:
        await asyncio.wait([work, watch], return_when=asyncio.FIRST_COMPLETED)
        if watch.done():
            raise typer.Exit(EXIT_BY_SIGNAL + watch.result())
        await work
    finally:
        watch.cancel()


def _ask_all(shell: Shell, platform: Platform) -> None:
    with Client(platform.url, token=platform.api_key) as client:
        for question in QUESTIONS:
            shell.out.print(Text(f"\n? {question}", style="bold"))
            ask_aloud(shell, client, Question(question))


def _running(options: UpOptions) -> Platform | None:
    try:
        found = Connection.find(None, options.state)
    except NotRunningError:
        return None
    key = found.local.api_key() if found.local else None
    return Platform(found.url, key) if found.url and key else None


def _go_on() -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    for what, why in GO_ON:
        grid.add_row(Text(f"  {what.format(command=_command())}"), Text(why, style="dim"))
    return Group(Text("\nGo on:", style="bold"), grid, Text())


def _command() -> str:
    """How this command is called from here: by its name, or by its path in an environment that is not active."""
    name = "toolorchestra"
    beside = Path(sys.executable).with_name(name)
    if shutil.which(name) or not beside.exists():
        return name
    here = Path.cwd()
    return str(beside.relative_to(here) if beside.is_relative_to(here) else beside)
