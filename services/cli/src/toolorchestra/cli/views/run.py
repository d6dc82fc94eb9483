"""A run as people read it: each turn and call with its reason, time and price, and the sums."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from toolorchestra.cli.views.tables import new_table
from toolorchestra.cli.views.values import NOTHING, counted, moment, seconds, text, tokens, usd

Json: TypeAlias = Mapping[str, Any]
STYLES: Final[Mapping[str, str]] = {"ok": "green", "completed": "green", "running": "yellow", "waiting": "yellow"}
ESTIMATE: Final = " ~"  # behind an amount that the provider did not state


class _Row(NamedTuple):
    turn: str
    function: str
    why: str
    status: str
    tokens: str
    time: str
    cost: str


def run_view(run: Json, *, url: str) -> RenderableType:
    """The table of turns and calls, and below it what the run cost and where it is found."""
    return Group(turns_table(run), sums(run), whereabouts(run, url=url))


def turns_table(run: Json) -> Table:
    """One line per decision and per call."""
    table = new_table(*_Row._fields)
    for turn in run.get("turns") or []:
        for row in _rows(turn):
            style = STYLES.get(row.status, "" if row.status == NOTHING else "red")
            cells = [Text(value) for value in row]
            cells[_Row._fields.index("status")].stylize(style)
            table.add_row(*cells)
    return table


def sums(run: Json) -> Text:
    """One line: how it ended, turns, calls, tokens, time, dollars."""
    turns = run.get("turns") or []
    calls = sum(len(turn.get("calls") or []) for turn in turns)
    status = str(run.get("status"))
    parts = [
        counted(len(turns), "turn"),
        counted(calls, "call"),
        f"{tokens(run.get('usage'))} tokens",
        seconds(run.get("duration_ms")),
        usd(run.get("cost_usd")),
    ]
    return Text.assemble((status, STYLES.get(status, "red")), " · ", " · ".join(parts))


def whereabouts(run: Json, *, url: str) -> Text:
    """Run, trace and address, each in a line."""
    lines = [f"run    {run.get('id')}", f"url    {url}/v1/runs/{run.get('id')}"]
    if run.get("trace_id"):
        lines.insert(1, f"trace  {run['trace_id']}")
    return Text("\n".join(lines), style="dim")


def runs_table(runs: Sequence[Json]) -> Table:
    """One line per run, newest first as the platform sends them."""
    table = new_table("run", "status", "model", "started", "cost")
    for run in runs:
        status = str(run.get("status"))
        table.add_row(
            str(run.get("id")),
            Text(status, style=STYLES.get(status, "red")),
            text(run.get("model")),
            moment(run.get("created_at")),
            usd(run.get("cost_usd")),
        )
    return table


def conversation(run: Json) -> Text:
    """The question and the answer, if their contents are still kept."""
    lines = Text()
    for message in run.get("messages") or []:
        lines.append(f"{message.get('role')}: ", style="bold").append(f"{text(message.get('content'))}\n")
    answer = (run.get("answer") or {}).get("answer")
    if answer:
        lines.append("answer: ", style="bold").append(f"{answer}\n")
    return lines


def _rows(turn: Json) -> Iterator[_Row]:
    number, calls = str(turn.get("turn")), turn.get("calls") or []
    if not _says_nothing_new(turn, calls):
        yield _decision(number, turn)
    for call in calls:
        yield _Row(
            turn=number,
            function=f"  {call.get('function')}",
            why=text(call.get("reason")),
            status=str(call.get("status") or call.get("phase") or NOTHING),
            tokens=tokens(call.get("usage")),
            time=seconds(call.get("latency_ms")),
            cost=_cost(call.get("cost_usd"), call),
        )


def _decision(number: str, turn: Json) -> _Row:
    decided = turn.get("decision_latency_ms") is not None
    return _Row(
        turn=number,
        function="answer" if turn.get("answer_from") or turn.get("text") else "decide",
        why=text(turn.get("error") or turn.get("forced") or turn.get("reason")),
        status="error" if turn.get("error") else "ok" if decided else NOTHING,
        tokens=tokens(turn.get("decision_usage")),
        time=seconds(turn.get("decision_latency_ms")),
        cost=_cost(turn.get("decision_cost_usd"), turn),
    )


def _says_nothing_new(turn: Json, calls: Sequence[Json]) -> bool:
    """Whether a rule decided for free, for the reason that its calls carry: then the calls are the whole turn."""
    reasons = {call.get("reason") for call in calls}
    return turn.get("reason") in reasons and float(turn.get("decision_cost_usd") or 0) == 0 and not turn.get("error")


def _cost(amount: Any, of: Json) -> str:
    return usd(amount) + (ESTIMATE if of.get("estimated") else "")
