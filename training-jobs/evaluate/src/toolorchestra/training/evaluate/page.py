"""The report as one HTML page."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from toolorchestra.core.pages import notes, page, section, table, verdict
from toolorchestra.training.evaluate import wording
from toolorchestra.training.evaluate.parts import PartRow, SkillRow, Worst
from toolorchestra.training.evaluate.picture import pareto_svg
from toolorchestra.training.evaluate.preferences import PAPER_DEFECTS
from toolorchestra.training.evaluate.report import Comparison, PolicyFigures, Report

_MOST_INK: Final = 0.45  # of a cell that holds all calls, so that its figure stays readable


def to_html(report: Report) -> str:
    """The page."""
    return page(report.title, _sections(report))


def _sections(report: Report) -> Iterator[str]:
    yield f"<h1>{escape(report.title)}</h1>"
    yield notes(report.notes)
    yield _gate(report)
    yield section(
        "What is right, and what it costs", pareto_svg(report.policies), "The line joins the policies that none beats."
    )
    yield _comparisons(report.comparisons)
    yield _policies(report.policies)
    names = [figures.policy for figures in report.policies]
    yield _parts("By suite", [row for row in report.parts if not row.topic], names)
    yield _parts("By topic", [row for row in report.parts if row.topic], names)
    yield _skills([row for row in report.skills if not row.real])
    yield _real_skills([row for row in report.skills if row.real])
    yield _tools(report.policies)
    yield _bias(report.policies)
    yield _preferences(report.policies)
    yield _dials(report.policies)
    yield _worst(report.worst)
    rows = [[escape(name), escape(value)] for name, value in report.reproducibility.items()]
    yield section("To do it again", table(["", ""], rows, text=2))


def _gate(report: Report) -> str:
    return "" if report.gate is None else verdict(report.gate.passed, report.gate.failures)


def _comparisons(comparisons: Sequence[Comparison]) -> str:
    head = ["", "success, points", "cost", "latency", "p success", "p cost", "tasks", "clusters"]
    rows = [
        [
            f"{escape(one.policy)}{' <em>(primary)</em>' if one.primary else ''}",
            wording.points(one.success),
            wording.times(one.cost_ratio),
            wording.times(one.latency_ratio),
            wording.p_value(one.p_success),
            wording.p_value(one.p_cost),
            str(one.success.n),
            str(one.success.clusters),
        ]
        for one in comparisons
    ]
    against = escape(comparisons[0].baseline) if comparisons else ""
    remark = "Paired on tasks. All p-values but that of the primary comparison on success are corrected after Holm."
    return section(f"Against {against}", table(head, rows), remark)


def _policies(policies: Sequence[PolicyFigures]) -> str:
    head = [
        "",
        "success",
        "cost per task",
        "cost per solved",
        "seconds",
        "calls",
        "turns",
        "tokens",
        "tasks",
        "clusters",
        "errors",
    ]
    rows = [
        [
            f'{escape(one.policy)} <span class="soft">{escape(one.family)}{", simulated" if one.simulated else ""}</span>',
            wording.percent(one.rates.success),
            wording.usd(one.rates.cost_per_task),
            wording.usd(one.rates.cost_per_solved),
            wording.plain(one.rates.latency_per_task),
            wording.plain(one.rates.calls_per_task),
            wording.plain(one.rates.turns_per_task),
            wording.whole(one.rates.tokens_per_task),
            str(one.tasks),
            str(one.rates.success.clusters),
            ", ".join(f"{count} {kind}" for kind, count in one.errors.items()) or "0",
        ]
        for one in policies
    ]
    return section("All policies", table(head, rows), "In brackets: intervals by bootstrap over clusters of tasks.")


def _parts(title: str, rows: Sequence[PartRow], names: Sequence[str]) -> str:
    head = ["", "tasks", *map(escape, names)]
    cells = [
        [
            escape(row.topic or row.suite) + (f' <span class="soft">{escape(row.suite)}</span>' if row.topic else ""),
            str(max(cell.n for cell in row.cells.values())),
            *(f"{100 * row.cells[name].success:.1f} %" if name in row.cells else wording.UNKNOWN for name in names),
        ]
        for row in rows
    ]
    return section(title, table(head, cells))


def _skills(skills: Sequence[SkillRow]) -> str:
    remark = "Measured when the expert manages alone (in brackets: the mean chance that the simulation drew for it)."
    return section("What the experts can do", _skill_table(skills), remark)


def _real_skills(skills: Sequence[SkillRow]) -> str:
    """Tools and models that nobody simulates, and what is to be known of each figure."""
    remark = (
        "Not simulated. Measured by calling each for the questions of a topic (in brackets: what is taken for granted, "
        "for a tool the share of the questions whose label names it)."
    )
    told = notes(list(dict.fromkeys(f"{row.expert}: {row.note}" for row in skills if row.note)))
    return section("What the real tools and the local model do", _skill_table(skills) + told, remark)


def _skill_table(skills: Sequence[SkillRow]) -> str:
    topics = sorted({row.topic for row in skills})
    known = {(row.expert, row.topic): row for row in skills}
    rows = [
        [
            escape(expert) + (' <span class="soft">real</span>' if is_real else ""),
            *(_skill(known.get((expert, t))) for t in topics),
        ]
        for expert, is_real in sorted({(row.expert, row.real) for row in skills})
    ]
    return table(["", *map(escape, topics)], rows)


def _skill(row: SkillRow | None) -> str:
    return wording.UNKNOWN if row is None else wording.skill(row.measured, row.simulated)


def _tools(policies: Sequence[PolicyFigures]) -> str:
    tools = sorted(
        {tool for one in policies for tool in one.tools}, key=lambda t: (-sum(p.tools.get(t, 0) for p in policies), t)
    )
    head = ["", *map(escape, tools)]
    rows = [[escape(one.policy), *(_share(one.tools.get(tool, 0.0)) for tool in tools)] for one in policies]
    return section("Which tools are called", table(head, rows) if tools else "", "Shares in all calls of a policy.")


def _share(share: float) -> str:
    if not share:
        return f'<td class="soft">{wording.UNKNOWN}</td>'
    return f'<td class="share"><i style="opacity:{_MOST_INK * share:.3f}"></i><b>{100 * share:.1f} %</b></td>'


def _bias(policies: Sequence[PolicyFigures]) -> str:
    rows = [
        [escape(one.policy), wording.percent(one.bias.strongest), f"{one.entropy:.2f}"]
        for one in policies
        if one.bias.strongest.value is not None
    ]
    remark = "Of calls of experts: the share of the strongest, and how evenly they are spread (0 bits: all go to one expert)."
    return section("Whom a policy favours", table(["", "the strongest", "entropy, bits"], rows), remark)


def _preferences(policies: Sequence[PolicyFigures]) -> str:
    scored = [(one.policy, one.preferences) for one in policies if one.preferences is not None]
    rows = [
        [
            escape(name),
            wording.plain(found.reward),
            wording.percent(found.adherence),
            wording.plain(found.paper) if found.paper else wording.UNKNOWN,
            str(found.reward.n),
        ]
        for name, found in scored
    ]
    scores = table(["", "reward, 0 to 1", "wishes met", "score of the paper", "tasks"], rows)
    defects = notes(PAPER_DEFECTS) if any(found.paper for _, found in scored) else ""
    told = f"<p>What is wrong with the score of the paper (arXiv 2511.21689):</p>{defects}" if defects else ""
    return section("What users asked for", scores + told)


def _dials(policies: Sequence[PolicyFigures]) -> str:
    rows = [
        [escape(one.policy), dial.aspect, f"{step.low:g} → {step.high:g}", wording.times(step.ratio), str(step.ratio.n)]
        for one in policies
        for dial in one.dials
        for step in dial.steps
    ]
    remark = "What a higher weight does to what is used, on the same tasks: a policy that obeys stays at or below 1."
    return section("Turning the dial", table(["", "aspect", "weight", "used, now / before", "tasks"], rows, text=3), remark)


def _worst(worst: Sequence[Worst]) -> str:
    rows = [
        [
            f'<a href="{escape(one.link)}">{escape(one.task)}</a>' if one.link else escape(one.task),
            escape(one.suite),
            escape(one.policy),
            escape(one.error),
            escape(", ".join(one.others)) or wording.UNKNOWN,
            f"${one.cost_usd}",
            f"{one.latency_ms / 1_000:.1f}",
            str(one.turns),
        ]
        for one in worst
    ]
    head = ["task", "suite", "policy", "what went wrong", "solved by", "cost", "seconds", "turns"]
    return section("Worst cases", table(head, rows, text=5), "First what others solved, then what cost most.")
