"""The records that episodes leave: what is known before, what was observed, and what went wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from toolorchestra.core.functions import Function
from toolorchestra.core.pricing import Usage
from toolorchestra.core.resources import Tool
from toolorchestra.training.evaluate.benchmarks.tau2 import DialogueTask
from toolorchestra.training.evaluate.ceilings import ceiling_of
from toolorchestra.training.evaluate.judging import Graded
from toolorchestra.training.evaluate.keys import Circumstances, judged_by
from toolorchestra.training.evaluate.plan import REAL, needs_experts
from toolorchestra.training.evaluate.records import Ceiling, Episode, ErrorKind, Expert, answer_digest, episode_key
from toolorchestra.training.evaluate.running import Job
from toolorchestra.training.evaluate.stages import MONOLITH, slug
from toolorchestra.training.evaluate.staging import Staged
from toolorchestra.training.evaluate.subjects import Subject
from toolorchestra.worlds.naming import SessionName
from toolorchestra.worlds.tasks import Task
from toolorchestra.worlds.world import World

VERSION: Final = 1  # of how episodes are played; another one plays all anew
MAX_MESSAGE: Final = 1_000
KEY_SHOWN: Final = 16


@dataclass(frozen=True, slots=True)
class Entry:
    """One episode of a plan: who plays what, and the job that stands for it."""

    subject: Subject
    policy: str
    repeat: int
    job: Job

    def session(self, start: str = "") -> str | None:
        """The name of its session; None where the task's id cannot be part of one.

        ``start`` tells one attempt from another where sessions outlive a process.
        """
        nonce = f"{self.repeat}-{self.job.key[:KEY_SHOWN]}{start}"
        names = (f"{self.subject.session}:{task}:{nonce}" for task in (self.subject.id, _plain(self.subject)) if task)
        return next((name for name in names if SessionName.find(name)), None)


def _plain(subject: Subject) -> str:
    """What names a dialogue in a session whatever its id is: its runs must share one, and nobody looks the task up by it."""
    return slug(subject.id) if isinstance(subject.source, DialogueTask) else ""


def repeat_of(session: str | None) -> int:
    """The repeat that a session belongs to; 0 for one that is none of ours."""
    name = SessionName.find(session)
    number = name.nonce.partition("-")[0] if name else ""
    return int(number) if number.isdigit() else 0


def entries_of(staged: Staged, circumstances: Circumstances | None = None) -> list[Entry]:
    """All episodes in the order of their tasks, so that what is cut short has the same tasks of every policy."""
    plan, around = staged.plan, circumstances or Circumstances()
    found: list[Entry] = []
    common = {stage: _stage_content(staged, stage) for stage in staged.stages}
    for subject in staged.subjects:
        task = subject.content | {"stage": common[subject.stage]} | judged_by(plan, subject)
        for policy in policies_of(staged, subject):
            for repeat in range(plan.repeats):
                settings = {"seed": plan.seed, "repeat": repeat, "version": VERSION, "platform": around.platform}
                key = episode_key(task, around.policy(policy), settings)
                found.append(Entry(subject, policy, repeat, Job(len(found), key, subject.suite, policy)))
    return found


def policies_of(staged: Staged, subject: Subject) -> list[str]:
    """Who plays a subject: what simulated experts know nothing of, nobody plays who needs them."""
    return [one for one in policies_on(staged, subject.stage) if subject.is_simulated or not needs_experts(one)]


def policies_on(staged: Staged, stage: str) -> list[str]:
    """The plan's policies with ``monolith:*`` spelled out; a monolith plays where its expert is in the cast."""
    names = staged.casts[stage].names
    found: list[str] = []
    for policy in staged.plan.policies:
        if policy == f"{MONOLITH}*":
            found.extend(f"{MONOLITH}{name}" for name in names)
        elif not policy.startswith(MONOLITH) or policy.removeprefix(MONOLITH) in names:
            found.append(policy)
    return list(dict.fromkeys(found))


def _stage_content(staged: Staged, name: str) -> dict[str, Any]:
    stage, cast = staged.stages[name], staged.casts[name]
    return {
        "experts": [expert.spec.model_dump(mode="json", exclude={"endpoint"}) for expert in stage.experts],
        "cast": [cast.seed, cast.split],
        "world": stage.world.content_hash if stage.world else None,
        "tools": [_tool_content(tool, stage.world) for tool in stage.tools],
        "limits": stage.limits.model_dump(mode="json"),
    }


def _tool_content(tool: Tool, world: World | None) -> list[Any]:
    """A world's tools are in the digest of the world, and their settings name its folder; others are their manifests."""
    told = tool.spec.description if world else tool.spec.model_dump(mode="json")
    return [tool.metadata.name, told]


@dataclass(frozen=True, slots=True)
class Observed:
    """What an episode came to, wherever it was played. ``calls`` counts by function; ``answer`` is the last one."""

    graded: Graded
    cost_nano_usd: int
    latency_ms: int
    turns: int
    usage: Usage
    calls: Mapping[str, int]
    offered: Sequence[str]
    answer: str
    error: ErrorKind | None = None
    error_message: str = ""
    run_id: str | None = None


def record(staged: Staged, entry: Entry, observed: Observed) -> Episode:
    """The record of an episode."""
    return Episode(
        **_known(staged, entry),
        success=observed.graded.success and observed.error is not ErrorKind.ENVIRONMENT,
        cost_nano_usd=observed.cost_nano_usd,
        latency_ms=observed.latency_ms,
        turns=observed.turns,
        input_tokens=observed.usage.input,
        output_tokens=observed.usage.output,
        simulated=is_simulated(staged, entry, observed.calls),
        calls=dict(sorted(observed.calls.items())),
        offered=tuple(sorted(observed.offered)),
        error=observed.error,
        error_message=(observed.error_message or observed.graded.reason)[:MAX_MESSAGE],
        run_id=observed.run_id,
        answer_digest=answer_digest(observed.answer),
    )


def failed(staged: Staged, entry: Entry, kind: ErrorKind, message: str) -> Episode:
    """The record of an episode that could not be played."""
    return Episode(
        **_known(staged, entry),
        success=False,
        simulated=is_simulated(staged, entry, {}),
        error=kind,
        error_message=message[:MAX_MESSAGE],
    )


def is_simulated(staged: Staged, entry: Entry, calls: Mapping[str, int]) -> bool:
    """Whether anything in an episode was simulated: the manager, the user, or an expert that was called."""
    if not entry.policy.startswith(REAL) or isinstance(entry.subject.source, Task | DialogueTask):
        return True
    return any(name in calls for name in staged.stages[entry.subject.stage].cards)


def _known(staged: Staged, entry: Entry) -> dict[str, Any]:
    """What is known before an episode is played."""
    subject, plan = entry.subject, staged.plan
    cast, stage = staged.casts[subject.stage], staged.stages[subject.stage]
    alone = entry.policy.startswith(MONOLITH)
    return {
        "key": entry.job.key,
        "suite": subject.suite,
        "task": subject.id,
        "cluster": subject.cluster,
        "topic": subject.topic,
        "policy": entry.policy,
        "seed": plan.seed,
        "repeat": entry.repeat,
        "experts": {} if alone else {name: Expert(strongest=name == cast.strongest.name) for name in stage.cards},
        "preference": subject.stated,
        "ceiling": ceiling(staged, subject),
    }


def ceiling(staged: Staged, subject: Subject) -> Ceiling | None:
    """C* and L* of a subject, once per stage and task."""
    return ceiling_of(subject.source, staged.stages[subject.stage], staged.casts[subject.stage].strongest, staged.ceilings)


def count_calls(functions: Sequence[Function], names: Sequence[str]) -> dict[str, int]:
    """How often each function was called."""
    known = {function.name for function in functions}
    return {name: names.count(name) for name in dict.fromkeys(names) if name in known}
