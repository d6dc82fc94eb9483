"""``toolorchestra ask``: one question, the turns as they happen, the answer, and what it cost."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from toolorchestra.cli.asking import Answer, Question, ask
from toolorchestra.cli.client import Client, path
from toolorchestra.cli.connection import (
    DEFAULT_STATE,
    AccountOption,
    Connection,
    ContextOption,
    JsonOption,
    KeyOption,
    NamespaceOption,
    NotRunningError,
    StateOption,
    UrlOption,
)
from toolorchestra.cli.kubectl import Cluster
from toolorchestra.cli.platform.background import start_in_background
from toolorchestra.cli.platform.options import UpOptions, usual_port
from toolorchestra.cli.shell import Shell
from toolorchestra.cli.views.plan import plan_view
from toolorchestra.cli.views.run import run_view
from toolorchestra.core.durations import parse_duration_ms
from toolorchestra.core.errors import InvalidRequestError, ToolOrchestraError
from toolorchestra.core.money import parse_usd

FAILED: Final = 1


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("ask")(ask_command)


def ask_command(
    context: typer.Context,
    question: Annotated[str, typer.Argument(help="What to ask; `-` reads it from standard input.")],
    *,
    model: Annotated[str, typer.Option(help="An orchestrator, or the name of one model.")] = "toolorchestra",
    prefer: Annotated[str | None, typer.Option(help='What to weigh, in words: "cheap if possible".')] = None,
    max_cost: Annotated[str | None, typer.Option(metavar="USD", help='Most US dollars, e.g. "0.05".')] = None,
    max_turns: Annotated[int | None, typer.Option(min=1, max=50, help="Most turns.")] = None,
    timeout: Annotated[str | None, typer.Option(metavar="TIME", help='Longest time, e.g. "30s" or "2m".')] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show candidates, worst prices and limits; spend nothing.")
    ] = False,
    start: Annotated[bool, typer.Option("--up", help="Start a platform in the background if none runs here.")] = False,
    as_json: JsonOption = False,
    url: UrlOption = None,
    cluster: ContextOption = None,
    namespace: NamespaceOption = None,
    account: AccountOption = None,
    key: KeyOption = None,
    state: StateOption = DEFAULT_STATE,
) -> None:
    """Ask a question. The answer goes to standard output, everything else to standard error."""
    asked = Question(
        text=_text(question),
        model=model,
        prefer=prefer,
        max_cost_usd=_usd(max_cost),
        max_turns=max_turns,
        timeout_s=_seconds(timeout),
    )
    shell = context.ensure_object(Shell)
    with _connect(shell, url, state, Cluster(cluster, namespace, account), start=start).client(key) as client:
        if dry_run:
            show_plan(shell, client.post("/v1/plan", asked.body()), as_json=as_json)
        elif as_json:
            answer = ask(client, asked)
            shell.data({"answer": answer.text, "toolorchestra": answer.summary, "run": find_run(client, answer)})
            _leave(answer)
        else:
            _leave(_until_interrupted(shell, client, asked))


def _until_interrupted(shell: Shell, client: Client, question: Question) -> Answer:
    try:
        return ask_aloud(shell, client, question)
    except KeyboardInterrupt:
        shell.note("\ncancelled")
        raise


def ask_aloud(shell: Shell, client: Client, question: Question) -> Answer:
    """Ask, show the turns and the answer as they come, then the table."""
    voice = _Voice(shell)
    answer = ask(client, question, progress=voice.progress, content=voice.content)
    voice.rest()
    run = find_run(client, answer)
    if run is not None:
        shell.err.print(run_view(run, url=client.url))
    return answer


def show_plan(shell: Shell, plan: dict[str, Any], *, as_json: bool) -> None:
    """Print what would happen."""
    if as_json:
        shell.data(plan)
    else:
        shell.out.print(plan_view(plan))


def find_run(client: Client, answer: Answer) -> dict[str, Any] | None:
    """The run behind an answer; None when it cannot be read, e.g. because it was deleted meanwhile."""
    if answer.run_id is None:
        return None
    with suppress(ToolOrchestraError):
        found: dict[str, Any] = client.get(path("v1", "runs", answer.run_id))
        return found
    return None


class _Voice:
    """Progress on standard error, the answer on standard output, each beginning on a line of its own."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._mid_line = False
        self._answering = False

    def progress(self, text: str) -> None:
        self._shell.err.print(text, end="", style="dim", markup=False, soft_wrap=True)
        self._mid_line = not text.endswith("\n")

    def content(self, text: str) -> None:
        if not self._answering:
            self._answering = True
            self._shell.err.print(end="\n" if self._mid_line else "")
        self._shell.raw(text)
        self._mid_line = not text.endswith("\n")

    def rest(self) -> None:
        """End the last line."""
        if self._mid_line:
            self._shell.raw("\n")
        self._mid_line = False


def _connect(shell: Shell, url: str | None, state: Path, cluster: Cluster, *, start: bool) -> Connection:
    try:
        return Connection.find(url, state, cluster)
    except NotRunningError as error:
        if not start:
            raise NotRunningError(error.message, hint=f"{error.hint}, or add --up") from None
    shell.note(f"starting a platform in {state}; `toolorchestra down` stops it")
    start_in_background(UpOptions(state=state, port=usual_port()))
    return Connection.find(None, state)


def _leave(answer: Answer) -> None:
    if answer.status not in ("completed", "waiting"):
        raise typer.Exit(FAILED)


def _text(question: str) -> str:
    text = sys.stdin.read() if question == "-" else question
    if not text.strip():
        raise InvalidRequestError("the question is empty", hint='write toolorchestra ask "What is 17 * 23?"')
    return text


def _usd(text: str | None) -> str | None:
    if text is not None:
        parse_usd(text.removeprefix("$"), param="--max-cost")
    return text and text.removeprefix("$")


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parse_duration_ms(f"{text}s" if text.isdigit() else text) / 1000
    except ValueError as error:
        raise InvalidRequestError(f"--timeout: {error}") from error
