"""The report of an evaluation: every figure with its interval, one declared primary comparison, and what it was made from.

A report is a function of the records and the plan: the same records give the same bytes, in whatever order they were written.
It is written as JSON, as one HTML page without outside resources, and as tables for the terminal.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import blake2b
from importlib.metadata import version
from typing import Any, Final

from toolorchestra.training.evaluate.errors import InvalidPlanError
from toolorchestra.training.evaluate.measures import (
    Bias,
    Paired,
    Rates,
    bias,
    counted,
    paired,
    pareto_front,
    rates,
    route_entropy,
    task_id,
    tool_shares,
)
from toolorchestra.training.evaluate.parts import PartRow, SkillRow, Worst, part_rows, worst_cases
from toolorchestra.training.evaluate.preferences import Dial, PreferenceScores, dials, preference_scores
from toolorchestra.training.evaluate.records import Episode, ErrorKind, Recorded, Stopped
from toolorchestra.worlds.statistics import Drawing, Gate, Interval, holm, randomisation_p

DISTRIBUTION: Final = "toolorchestra-evaluate"
FEW_CLUSTERS: Final = 40
DIGITS: Final = 9  # of a figure in JSON: more would differ between machines
LINKS: Final = ("https://", "http://", "/", "./", "../")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a report is to say, declared before the figures are known.

    ``policy`` against ``baseline`` on success is the primary comparison. ``untrained`` names the policy that the paper's
    preference score measures against. ``run_link`` is an address with ``{run_id}`` in it. ``settings`` is printed as given.
    ``bounds`` are policies that nobody can have, such as an oracle: they are shown, and beat none of the others. ``notes`` are
    what is known before of what is played; they are shown with those that the records give.
    """

    policy: str | None = None
    baseline: str | None = None
    title: str = "Evaluation"
    gate: Gate | None = None
    untrained: str | None = None
    drawing: Drawing = field(default_factory=Drawing)
    run_link: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    worst: int = 10
    bounds: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.run_link and not self.run_link.startswith(LINKS):
            raise InvalidPlanError(
                "run_link is no web address", param="run_link", hint=f"begin it with one of {', '.join(LINKS)}"
            )
        if self.gate and not (self.policy and self.baseline):
            raise InvalidPlanError("a gate needs a policy and a baseline", param="gate", hint="name both")


@dataclass(frozen=True, slots=True)
class PolicyFigures:
    """All figures of one policy over all suites.

    ``errors`` counts episodes by kind, ``simulated`` those with simulated experts or users; ``entropy`` is that of
    calls of experts, in bits; ``family`` is what kind of policy it is.
    """

    policy: str
    family: str
    tasks: int
    episodes: int
    seeds: tuple[int, ...]
    on_front: bool
    rates: Rates
    bias: Bias
    entropy: float
    tools: Mapping[str, float]
    preferences: PreferenceScores | None
    dials: tuple[Dial, ...]
    errors: Mapping[str, int]
    simulated: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """A policy against the baseline on the tasks that both did; p-values of all but the primary test are Holm-corrected."""

    policy: str
    baseline: str
    primary: bool
    success: Interval
    cost_ratio: Interval
    latency_ratio: Interval
    p_success: float
    p_cost: float


@dataclass(frozen=True, slots=True)
class GateResult:
    """Whether the primary policy may go on, and every reason why not."""

    gate: Gate
    passed: bool
    failures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the JSON, the page and the terminal show."""

    title: str
    partial: Stopped | None
    simulated: int
    notes: tuple[str, ...]
    gate: GateResult | None
    comparisons: tuple[Comparison, ...]
    policies: tuple[PolicyFigures, ...]
    parts: tuple[PartRow, ...]
    skills: tuple[SkillRow, ...]
    worst: tuple[Worst, ...]
    reproducibility: Mapping[str, str]


def build_report(recorded: Recorded, plan: Plan, *, skills: Sequence[SkillRow] = ()) -> Report:
    """The report of the records; ``skills`` are those of simulated experts, and of real tools.

    Raises InvalidPlanError when the plan names a policy without records, or there are none; what ended early has a report of
    what there is.
    """
    by_policy = _by_policy(recorded.episodes)
    declared = plan
    if recorded.stopped:
        plan = _possible(plan, by_policy)
    else:
        _check(plan, by_policy)
    comparisons = _comparisons(by_policy, plan)
    return Report(
        title=plan.title,
        partial=recorded.stopped,
        simulated=sum(episode.simulated for episode in recorded.episodes),
        notes=(*_notes(recorded, by_policy, comparisons), *plan.notes),
        gate=_gate(declared, recorded, comparisons),
        comparisons=comparisons,
        policies=_policies(recorded, by_policy, plan),
        parts=tuple(part_rows(by_policy)),
        skills=tuple(skills),
        worst=tuple(worst_cases(_judged(by_policy, plan), by_policy, most=plan.worst, run_link=plan.run_link)),
        reproducibility=_reproducibility(recorded, by_policy, plan),
    )


def to_json(report: Report) -> str:
    """The report as JSON with a stable order and no more digits than are meant."""
    content = _plain(asdict(report) | {"partial": report.partial.model_dump(mode="json") if report.partial else None})
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    match value:
        case float():
            return float(f"{value:.{DIGITS}g}")
        case dict():
            return {name: _plain(item) for name, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return value


_FAMILIES: Final[Mapping[str, str]] = {
    "golden": "bound",
    "oracle": "bound",
    "nothing": "bound",
    "lexical": "learned router",
    "embedding": "learned router",
    "monolith": "one model",
    "prompted": "manager",
    "orchestrator": "manager",
}


def family_of(policy: str) -> str:
    """What kind of policy this is: a bound on what can be reached, a rule, a learned router, one model, a manager."""
    return _FAMILIES.get(policy.partition(":")[0], "rule")


def _judged(by_policy: Mapping[str, list[Episode]], plan: Plan) -> list[str]:
    """Whose failures are worth looking at: those of the policy that is judged, else of all that somebody could have."""
    return [plan.policy] if plan.policy else [name for name in by_policy if name not in plan.bounds]


def _by_policy(episodes: Iterable[Episode]) -> dict[str, list[Episode]]:
    found: dict[str, list[Episode]] = defaultdict(list)
    for episode in counted(episodes):
        found[episode.policy].append(episode)
    return dict(sorted(found.items()))


def _check(plan: Plan, by_policy: Mapping[str, Sequence[Episode]]) -> None:
    if not by_policy:
        raise InvalidPlanError("there is no episode to report on", hint="run the evaluation first, or look at its errors")
    for name in ("policy", "baseline", "untrained"):
        wanted = getattr(plan, name)
        if wanted is not None and wanted not in by_policy:
            raise InvalidPlanError(f"no episode is of {wanted!r}", param=name, hint=f"recorded are {', '.join(by_policy)}")


def _possible(plan: Plan, by_policy: Mapping[str, Sequence[Episode]]) -> Plan:
    """The plan without the policies that have no episode yet."""

    def known(name: str | None) -> str | None:
        return name if name in by_policy else None

    return replace(plan, gate=None, policy=known(plan.policy), baseline=known(plan.baseline), untrained=known(plan.untrained))


def _policies(recorded: Recorded, by_policy: Mapping[str, list[Episode]], plan: Plan) -> tuple[PolicyFigures, ...]:
    untrained = by_policy[plan.untrained] if plan.untrained else []
    errors: dict[str, Counter[ErrorKind]] = defaultdict(Counter)
    for episode in recorded.episodes:
        if episode.error:
            errors[episode.policy][episode.error] += 1
    figures = {name: rates(episodes, plan.drawing, name=name) for name, episodes in by_policy.items()}
    points = {name: (one.cost_per_task.value or 0.0, one.success.value or 0.0) for name, one in figures.items()}
    front = pareto_front({name: point for name, point in points.items() if name not in plan.bounds})
    return tuple(
        PolicyFigures(
            policy=name,
            family=family_of(name),
            tasks=len({task_id(episode) for episode in episodes}),
            episodes=len(episodes),
            seeds=tuple(sorted({episode.seed for episode in episodes})),
            on_front=name in front,
            rates=figures[name],
            bias=bias(episodes, plan.drawing, name=name),
            entropy=route_entropy(episodes),
            tools=tool_shares(episodes),
            preferences=preference_scores(episodes, plan.drawing, name=name, untrained=untrained),
            dials=dials(episodes, plan.drawing, name=name),
            errors={kind.value: errors[name][kind] for kind in ErrorKind if errors[name][kind]},
            simulated=sum(episode.simulated for episode in episodes),
        )
        for name, episodes in sorted(by_policy.items(), key=lambda item: (-points[item[0]][1], points[item[0]][0], item[0]))
    )


def _comparisons(by_policy: Mapping[str, list[Episode]], plan: Plan) -> tuple[Comparison, ...]:
    if plan.baseline is None:
        return ()
    old, drawing = by_policy[plan.baseline], plan.drawing
    found: dict[str, Paired] = {}
    for name, new in by_policy.items():
        pairs = paired(new, old, drawing, name=f"{name}/{plan.baseline}")
        if name != plan.baseline and pairs.success.n:
            found[name] = pairs
    p_values = {
        (name, measure): randomisation_p(parts, drawing, name=f"{name}/{plan.baseline}/{measure}")
        for name, pairs in found.items()
        for measure, parts in (("success", pairs.success_parts), ("cost", pairs.cost_parts))
    }
    primary = (plan.policy or "", "success")
    corrected = holm({"\0".join(key): p for key, p in p_values.items() if key != primary})
    final = {key: corrected.get("\0".join(key), p) for key, p in p_values.items()}
    ranked = sorted(found, key=lambda name: (name != plan.policy, name))
    return tuple(_comparison(name, plan, found[name], final[name, "success"], final[name, "cost"]) for name in ranked)


def _comparison(name: str, plan: Plan, pairs: Paired, p_success: float, p_cost: float) -> Comparison:
    return Comparison(
        policy=name,
        baseline=plan.baseline or "",
        primary=name == plan.policy,
        success=pairs.success,
        cost_ratio=pairs.cost_ratio,
        latency_ratio=pairs.latency_ratio,
        p_success=p_success,
        p_cost=p_cost,
    )


def _gate(plan: Plan, recorded: Recorded, comparisons: Sequence[Comparison]) -> GateResult | None:
    if plan.gate is None:
        return None
    failures = tuple(_gate_failures(plan, plan.gate, recorded, comparisons))
    return GateResult(plan.gate, not failures, failures)


def _gate_failures(plan: Plan, gate: Gate, recorded: Recorded, comparisons: Sequence[Comparison]) -> Iterator[str]:
    if recorded.stopped:
        yield "the evaluation is partial"
    for policy in (plan.policy, plan.baseline):
        counts = [episode.counts for episode in recorded.episodes if episode.policy == policy]
        if not any(counts):
            yield f"no episode of {policy} counts"
        elif (lost := counts.count(False) / len(counts)) > gate.max_lost:
            yield f"{lost:.1%} of the episodes of {policy} failed through their environment; the limit is {gate.max_lost:.1%}"
    primary = next((one for one in comparisons if one.primary), None)
    if primary is None:
        yield f"{plan.policy} and {plan.baseline} have no task in common"
    else:
        yield from gate.failures(success=primary.success, cost_ratio=primary.cost_ratio)


def _notes(recorded: Recorded, by_policy: Mapping[str, list[Episode]], comparisons: Sequence[Comparison]) -> Iterator[str]:
    """What a reader must know before believing a figure."""
    if stopped := recorded.stopped:
        yield f"Partial: {stopped.reason}; {stopped.done} of {stopped.planned} episodes are recorded."
    if simulated := sum(episode.simulated for episode in recorded.episodes):
        yield f"Simulated: in {simulated} of {len(recorded.episodes)} episodes experts or users were simulated."
    if lost := len(recorded.episodes) - sum(map(len, by_policy.values())):
        yield f"Failed through their environment and left out of all rates: {lost} of {len(recorded.episodes)} episodes."
    tasks = {policy: {task_id(episode) for episode in episodes} for policy, episodes in by_policy.items()}
    everything = set().union(*tasks.values())
    lacking: dict[int, list[str]] = defaultdict(list)
    for policy, done in tasks.items():
        lacking[len(everything) - len(done)].append(policy)
    for missing, names in sorted(lacking.items()):
        if missing:
            lack, them = ("lacks", "it") if len(names) == 1 else ("lack", "them")
            yield f"{', '.join(names)} {lack} {missing} of {len(everything)} tasks; compare {them} by the paired figures only."
    fewest = min((one.success.clusters for one in comparisons), default=FEW_CLUSTERS)
    if fewest < FEW_CLUSTERS:
        yield f"A comparison rests on {fewest} clusters only; below {FEW_CLUSTERS} intervals are rough."


def _reproducibility(recorded: Recorded, by_policy: Mapping[str, list[Episode]], plan: Plan) -> dict[str, str]:
    drawing = plan.drawing
    lines = sorted(episode.model_dump_json() for episode in recorded.episodes)
    episodes = [episode for same in by_policy.values() for episode in same]
    return {
        "records": blake2b("\n".join(lines).encode(), digest_size=16).hexdigest(),
        "episodes": str(len(recorded.episodes)),
        "tasks": str(len({task_id(episode) for episode in episodes})),
        "clusters": str(len({(episode.suite, episode.cluster) for episode in episodes})),
        "seeds of the episodes": ", ".join(map(str, sorted({episode.seed for episode in episodes}))),
        "intervals": f"{drawing.level:.0%}, cluster bootstrap, {drawing.resamples} resamples, seed {drawing.seed}",
        "made by": f"{DISTRIBUTION} {version(DISTRIBUTION)}",
        **dict(sorted(plan.settings.items())),
    }
