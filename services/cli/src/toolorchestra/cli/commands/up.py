"""``toolorchestra up`` and ``down``: the whole platform on this machine."""

import asyncio
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from toolorchestra.cli.client import Client
from toolorchestra.cli.connection import DEFAULT_STATE, StateOption
from toolorchestra.cli.embedded.supervisor import Supervisor
from toolorchestra.cli.platform.background import refuse_second, start_in_background, stop_background
from toolorchestra.cli.platform.folder import API_URL_NAME, StateFolder
from toolorchestra.cli.platform.options import DEFAULT_PORT, UpOptions
from toolorchestra.cli.platform.start import Platform, Starter
from toolorchestra.cli.shell import Shell
from toolorchestra.cli.views.values import seconds
from toolorchestra.cli.views.welcome import welcome
from toolorchestra.core.errors import UnavailableError
from toolorchestra.kit.addresses import parse_opening

EXIT_BY_SIGNAL: Final = 128


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("up")(up_command)
    app.command("down")(down_command)


def up_command(
    context: typer.Context,
    *,
    manifests: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR", exists=True, file_okay=False, help="Folder with manifests; repeatable. Default: ./manifests."
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on 127.0.0.1.")] = DEFAULT_PORT,
    replicas: Annotated[
        int, typer.Option(min=1, max=64, help="Orchestrator processes behind that port; more than one needs Linux.")
    ] = 1,
    state: StateOption = DEFAULT_STATE,
    local_model: Annotated[bool, typer.Option("--local-model/--no-local-model", help="Start the small local model.")] = True,
    allow_egress: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST:PORT", help="Open a private address to tools and models; repeatable."),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return once it runs; `toolorchestra down` stops it.")] = False,
    database_url: Annotated[
        str | None,
        typer.Option(envvar="TOOLORCHESTRA_DATABASE_URL", help="PostgreSQL of your own instead of the embedded one."),
    ] = None,
    broker_url: Annotated[
        str | None, typer.Option(envvar="TOOLORCHESTRA_BROKER_URL", help="Broker of your own for queued calls.")
    ] = None,
    signal_url: Annotated[
        str | None, typer.Option(envvar="TOOLORCHESTRA_SIGNAL_URL", help="Valkey or Redis of your own for signals.")
    ] = None,
    otlp_endpoint: Annotated[
        str | None,
        typer.Option(envvar="TOOLORCHESTRA_TELEMETRY__OTLP_ENDPOINT", help="Collector for traces. Default: files in --state."),
    ] = None,
) -> None:
    """Start the platform on this machine and keep it running until Ctrl-C."""
    options = UpOptions(
        state=state,
        port=port,
        replicas=replicas,
        manifests=tuple(manifests or ()),
        local_model=local_model,
        allow_egress=tuple(allow_egress or ()),
        database_url=database_url,
        broker_url=broker_url,
        signal_url=signal_url,
        otlp_endpoint=otlp_endpoint,
    )
    for entry in options.allow_egress:
        parse_opening(entry)
    shell = context.ensure_object(Shell)
    if detach:
        _detach(shell, options)
    else:
        refuse_second(state)
        asyncio.run(until_told(_serve(shell, options)))


def down_command(context: typer.Context, state: StateOption = DEFAULT_STATE) -> None:
    """Stop the platform of --state, however it was started."""
    shell = context.ensure_object(Shell)
    stopped = stop_background(state)
    shell.note(f"the platform of {state} {'is stopped' if stopped else 'was not running'}")


async def until_told(work: Coroutine[Any, Any, None]) -> None:
    """Run ``work``; SIGTERM ends it as orderly as Ctrl-C does, also before it is ready for signals itself."""
    task = asyncio.ensure_future(work)
    told = asyncio.Event()

    def end() -> None:
        told.set()
        task.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
    try:
        await task
    except asyncio.CancelledError:
        if told.is_set():
            raise typer.Exit(EXIT_BY_SIGNAL + signal.SIGTERM) from None
        raise


def show_welcome(shell: Shell, platform: Platform) -> None:
    """Print address, key, models, tools and the three lines of Python."""
    with Client(platform.url, token=platform.api_key) as client:
        models, tools = client.get("/v1/models"), client.get("/v1/tools")
        if not all(tool.get("ready") for tool in tools["data"]):  # perhaps it was asked too early
            tools = client.post("/v1/tools/check")
    shell.out.print(welcome(platform.url, platform.api_key, models=models["data"], tools=tools), soft_wrap=True)


def tell(shell: Shell, name: str, milliseconds: int) -> None:
    """One line per part that is ready."""
    shell.note(f"  {name:<15} {seconds(milliseconds)}")


def _detach(shell: Shell, options: UpOptions) -> None:
    started = start_in_background(options)
    key = StateFolder(options.state).api_key()
    if key is None:
        raise UnavailableError("the platform runs, but its key is not kept", hint="`toolorchestra keys create NAME` makes one")
    show_welcome(shell, Platform(started.urls[API_URL_NAME], key))
    shell.note(f"it runs in the background (process {started.pid}); `toolorchestra down` stops it")


async def _serve(shell: Shell, options: UpOptions) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with Supervisor(options.state) as supervisor:
        platform = await Starter(options, tell=lambda name, ms: tell(shell, name, ms)).start(supervisor)
        await asyncio.to_thread(show_welcome, shell, platform)
        shell.note(f"ready after {loop.time() - began:.1f} s; Ctrl-C stops it")
        await supervisor.wait()
        shell.note("stopping …")
