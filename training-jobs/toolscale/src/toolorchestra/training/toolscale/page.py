"""The report as Markdown, and tasks as a person reads them."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from toolorchestra.training.toolscale.contamination import NEAR
from toolorchestra.training.toolscale.draws import generator, some
from toolorchestra.training.toolscale.errors import InvalidBuildError
from toolorchestra.training.toolscale.splits import SPLITS, TEST, TRAIN
from toolorchestra.worlds.state import money_text
from toolorchestra.worlds.tasks import Fact, Task
from toolorchestra.worlds.values import Kind

BEGIN, END = "<!-- made by `toolorchestra worlds report`: begin -->", "<!-- made by `toolorchestra worlds report`: end -->"
_MADE: Final = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
_FAULTS: Final = {
    "leaky": "a fact stands in the user's own text",
    "no_op": "passes when nothing is done",
    "echo": "passes when the request is repeated",
    "dump": "passes when all results are listed",
    "guessable": "only facts that are guessed easily",
    "golden_fails": "the reference solution fails",
}
_WORDING: Final = ("distinct_1", "distinct_2", "distinct_3", "template_overlap", "self_overlap", "mean_words")


def page_of(report: Mapping[str, Any]) -> str:
    """The tables of a report."""
    tables = {
        "Beside the published data": _beside(report),
        "Worlds": _worlds(report),
        "What was dropped": _drops(report),
        "Wording": _wording(report),
        "Splits": _splits(report),
        "What splits share": _contamination(report),
    }
    return "\n".join(f"### {title}\n\n{text}" for title, text in tables.items())


def sample_of(tasks: Sequence[Task], count: int, seed: int) -> list[Task]:
    """Tasks drawn over all worlds, in random order; the same for the same seed."""
    return some(generator(seed, "sample"), tasks, count)


def task_page(task: Task) -> str:
    """One task: what is asked, what the user knows, what is to be done and told."""
    quoted = "\n".join(f"> {line}" for line in task.user.opening.splitlines())
    words = f"\n>\n> {task.user.preference.words}" if task.user.preference.words else ""
    calls = "\n".join(f"{number}. {_call(one.tool, one.arguments)}" for number, one in enumerate(task.golden, 1))
    told = "; ".join(f"{fact.name}: {_value(fact)}" for fact in task.facts) or "nothing in particular"
    about = f"`{task.id}` · {task.intent} · {', '.join(task.split) or 'no split'} · {task.user.persona}"
    return f"{about}\n\n{quoted}{words}\n\n{calls}\n\nTo be told: {told}.\n"


def put_into(path: Path, text: str) -> None:
    """Put the made part of a page in place of the former. Raises InvalidBuildError if the page has no place for it."""
    page = path.read_text(encoding="utf-8") if path.exists() else ""
    if len(_MADE.findall(page)) != 1:
        hint = f"write these two lines where the tables belong:\n{BEGIN}\n{END}"
        raise InvalidBuildError(f"docs: {path} has no place for the report", param="docs", hint=hint)
    path.write_text(_MADE.sub(lambda _: f"{BEGIN}\n\n{text.strip()}\n\n{END}", page), encoding="utf-8")


def _table(head: Sequence[str], rows: Iterator[Sequence[Any]]) -> str:
    lines = [head, ["---", *(["---:"] * (len(head) - 1))], *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


def _cell(value: Any) -> str:
    match value:
        case float():
            return f"{value:.2f}"
        case int():
            return f"{value:,}"
        case _:
            return str(value)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _beside(report: Mapping[str, Any]) -> str:
    total, published, audit = report["total"], report["published"], report["audit"]

    def rows() -> Iterator[Sequence[Any]]:
        yield "domains", len(report["worlds"]), published["domains"]
        for name in ("tools", "rows", "tasks"):
            yield name, total[name], published[name]
        yield (
            "tasks that write",
            _percent(total["with_writes"]),
            _percent(1 - published["without_writes"] / published["sample"]),
        )
        yield "golden calls per task: mean", total["mean_calls"], published["mean_calls"]
        yield "golden calls per task: most", total["max_calls"], published["max_calls"]
        for name, words in _FAULTS.items():
            yield words, audit.get(name, 0), published["audit"].get(name, "not known")

    return f"{_table(('', 'here', 'published'), rows())}\nPublished: {published['source']}.\n"


def _worlds(report: Mapping[str, Any]) -> str:
    head = ("world", "tools", "tables", "rows", "intents", "templates", "tasks", "write", "chained", "calls", "most", "facts")

    def row(name: str, one: Mapping[str, Any]) -> Sequence[Any]:
        counts = [one[key] for key in ("tools", "tables", "rows", "intents", "templates", "tasks")]
        shares = [_percent(one[key]) for key in ("with_writes", "chained")]
        return name, *counts, *shares, one["mean_calls"], one["max_calls"], one["mean_facts"]

    rows = [row(name, about["figures"]) for name, about in report["worlds"].items()]
    return _table(head, iter([*rows, row("all", report["total"])]))


def _drops(report: Mapping[str, Any]) -> str:
    drops = sorted(report["drops"].items(), key=lambda one: -one[1])
    text = f"Of {report['attempts']:,} candidates {report['total']['tasks']:,} were kept.\n\n"
    return text + _table(("why a candidate, or a draw of rows for one, was dropped", "how often"), iter(drops))


def _wording(report: Mapping[str, Any]) -> str:
    head = ("world", "texts", *(name.replace("_", " ").replace("distinct ", "distinct-") for name in _WORDING))
    found = [*report["worlds"].items(), ("all", report)]
    rows = ([name, about["wording"]["texts"], *(about["wording"][key] for key in _WORDING)] for name, about in found)
    return _table(head, iter(rows))


def _splits(report: Mapping[str, Any]) -> str:
    found = [*report["worlds"].items(), ("all", report)]
    return _table(("world", *SPLITS), ([name, *(about["splits"][split] for split in SPLITS)] for name, about in found))


def _contamination(report: Mapping[str, Any]) -> str:
    head = ("splits", "tasks", "(intent, template)", "golden calls", "8-grams", "nearest: mean", "95 %", "most", "near copies")

    def rows() -> Iterator[Sequence[Any]]:
        for one in report["contamination"]:
            must = "**" if one["must_be_clean"] else ""
            shared = [f"{must}{one[key]}{must}" for key in ("shared_pairs", "shared_golden")]
            sizes = " → ".join(f"{size:,}" for size in one["tasks"])
            near = [one[key] for key in ("nearest_mean", "nearest_95", "nearest_max", "near_copies")]
            yield f"{one['first']} → {one['second']}", sizes, *shared, _percent(one["phrase_share"]), *near

    return f"{_table(head, rows())}\n{_same_kinds(report)}\n"


def _same_kinds(report: Mapping[str, Any]) -> str:
    """What a reader must know before a figure on ``test`` is taken for one on something new."""
    copies = sum(one["near_copies"] for one in report["contamination"] if (one["first"], one["second"]) == (TRAIN, TEST))
    return (
        f"`{TEST}` holds other tasks of the same kinds as `{TRAIN}`. That they share pairs of intent and template, and so many "
        f"phrases, is meant: a figure on `{TEST}` says nothing of kinds that are new. For those there are the held-out splits, "
        f"which share no such pair with `{TRAIN}`. Near copies are kept: {copies} of `{TEST}` have a similarity of {NEAR} or "
        f"more to a request of `{TRAIN}`."
    )


def _call(tool: str, arguments: Mapping[str, Any]) -> str:
    said = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in arguments.items())
    return f"`{tool}({said})`"


def _value(fact: Fact) -> str:
    match fact.kind:
        case Kind.MONEY:
            return money_text(int(fact.value))
        case Kind.YESNO:
            return "yes" if fact.value else "no"
        case _:
            return str(fact.value)
