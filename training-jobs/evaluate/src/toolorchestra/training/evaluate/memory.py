"""Plays episodes in this process: the real loop with the real prompted policy, in memory and on a virtual clock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from typing_extensions import override

from toolorchestra.core.calls import Executor
from toolorchestra.core.durations import parse_duration_ms
from toolorchestra.core.errors import ToolOrchestraError
from toolorchestra.core.loop.facts import Limits, Opened
from toolorchestra.core.loop.journal import DeniedError
from toolorchestra.core.loop.state import State
from toolorchestra.core.pricing import Usage
from toolorchestra.core.resources.meta import nano_usd
from toolorchestra.core.revision import Revision
from toolorchestra.core.rewards.episodes import EpisodeOutcome, rollout_of
from toolorchestra.training.evaluate.actors import Company
from toolorchestra.training.evaluate.dialogues import Messages, Users, converse
from toolorchestra.training.evaluate.episodes import Entry, Observed, count_calls, failed, record
from toolorchestra.training.evaluate.judging import Graded, Jury
from toolorchestra.training.evaluate.real_tools import PluginExecutor
from toolorchestra.training.evaluate.records import Episode, ErrorKind
from toolorchestra.training.evaluate.running import Job, Player, first_of
from toolorchestra.training.evaluate.stages import Stage
from toolorchestra.training.evaluate.staging import Staged
from toolorchestra.training.evaluate.subjects import Subject
from toolorchestra.training.evaluate.training import Choices
from toolorchestra.worlds.errors import BrokenToolError
from toolorchestra.worlds.playing import Ended, User, play
from toolorchestra.worlds.serving import WorldExecutor, calls_of
from toolorchestra.worlds.simulation.executing import SimulatedExpertExecutor, StageExecutor
from toolorchestra.worlds.simulation.user import ASK_USER_TOOL, answering
from toolorchestra.worlds.tasks import Task


@dataclass(frozen=True)
class MemoryPlayer(Player):
    """``entries`` are all episodes of the plan, in the order of their jobs; ``choices`` those of the text-only routers."""

    staged: Staged
    jury: Jury
    entries: Sequence[Entry]
    choices: Mapping[str, Choices]
    batch: int = 1
    width: int = 1
    users: Users = field(default_factory=Users)
    plugins: PluginExecutor = field(default_factory=PluginExecutor)
    companies: dict[int, Company] = field(default_factory=dict)

    @override
    async def play(self, jobs: Sequence[Job]) -> Sequence[Episode]:
        return [await self._play(self.entries[job.number]) for job in jobs]

    async def _play(self, entry: Entry) -> Episode:
        try:
            return record(self.staged, entry, await self._observe(entry))
        except DeniedError as error:
            return failed(self.staged, entry, ErrorKind.BUDGET, error.message)
        except (ToolOrchestraError, ExceptionGroup) as error:  # a group where calls of a turn ran side by side
            first = first_of(error)
            if not isinstance(first, ToolOrchestraError):
                raise
            return failed(self.staged, entry, ErrorKind.ENVIRONMENT, str(first))

    async def _observe(self, entry: Entry) -> Observed:
        subject, stage = entry.subject, self.staged.stages[entry.subject.stage]
        revision = stage.revision(entry.policy)
        opened = opening(subject, stage, revision, seed=self.staged.plan.seed + entry.repeat, session=entry.session())
        company = self._company(entry.repeat)
        models, executor = company.models(stage.name, entry.policy), self._executor(company, stage)

        async def run(messages: Messages, number: int) -> Ended:
            given = opened.model_copy(update={"messages": tuple(dict(one) for one in messages)})
            name = f"run-{number}" if number else "run"
            return await play(revision, given, models=models, executor=executor, user=user_of(subject), run_id=name)

        runs = await converse(subject.opening, run, told_in, self.users.of(subject), most=stage.limits.runs)
        calls = [call for one in runs if stage.world for call in calls_of(one.state, stage.world, functions=stage.functions)]
        said = "\n".join(one.answer for one in runs)
        return observed_in(runs, revision, await self.jury.judge(subject, calls, said))

    def _executor(self, company: Company, stage: Stage) -> StageExecutor:
        experts = SimulatedExpertExecutor(company.experts[stage.name])
        tools: Executor = WorldExecutor(stage.world, seed=stage.latency_seed) if stage.world else self.plugins
        return StageExecutor(experts, tools)

    def _company(self, repeat: int) -> Company:
        """Who plays in a repeat; experts are drawn anew for each, since one draw always answers alike."""
        if repeat not in self.companies:
            self.companies[repeat] = Company(self.staged, self.choices, self.staged.plan.seed + repeat)
        return self.companies[repeat]


def opening(subject: Subject, stage: Stage, revision: Revision, *, seed: int, session: str | None) -> Opened:
    """The opening fact of a run, as the service would make it of the request."""
    limits = stage.limits
    spec = revision.orchestrator
    return Opened(
        model=revision.model,
        policy="",
        tenant=revision.tenant,
        key="evaluation",
        revision=revision.id,
        messages=({"role": "user", "content": subject.opening},),
        client_tools=(dict(ASK_USER_TOOL),) if user_of(subject) else (),
        preference=subject.wish,
        limits=Limits(
            max_turns=limits.turns,
            max_output_tokens=limits.output_tokens,
            timeout_ms=parse_duration_ms(spec.limits.timeout) if spec else limits.seconds * 1_000,
            max_cost_nano_usd=nano_usd(limits.cost_usd),
        ),
        seed=seed,
        session=session,
    )


def user_of(subject: Subject) -> User | None:
    """Who answers ``ask_user``: the user of a world's task; nobody else can be asked."""
    return answering(subject.source.user) if isinstance(subject.source, Task) else None


def told_in(ended: Ended) -> str | None:
    """What the user was told in a run; None where it failed, or was capped."""
    return ended.answer if ended.state.ended is not None and ended.state.ended.status == "completed" else None


def observed_in(runs: Sequence[Ended], revision: Revision, graded: Graded) -> Observed:
    """What was observed of an episode in memory: its runs counted as rewards count them, its end that of the last one."""
    states = [one.state for one in runs]
    rollout = rollout_of(states, EpisodeOutcome.OK if graded.success else EpisodeOutcome.WRONG)
    turns = [turn for state in states for turn in state.turns]
    names = [call.intent.function for turn in turns for call in turn.calls if call.outcome is not None]
    error, message = error_of(states[-1])
    return Observed(
        graded=graded,
        cost_nano_usd=rollout.cost_nano_usd,
        latency_ms=rollout.latency_ms,
        turns=len(turns),
        usage=sum((state.usage for state in states), Usage()),
        calls=count_calls(revision.functions, names),
        offered=[function.name for function in revision.functions],
        answer=runs[-1].answer,
        error=error,
        error_message=message,
    )


def error_of(state: State) -> tuple[ErrorKind | None, str]:
    """Why a run gave no answer of its policy's own, if so."""
    outcomes = [call.outcome for turn in state.turns for call in turn.calls if call.outcome is not None]
    broken = next((one for one in outcomes if one.error_code == BrokenToolError.code), None)
    if broken is not None:
        return ErrorKind.ENVIRONMENT, broken.content
    if state.ended is None or state.ended.status == "completed":
        return None, ""
    failure = next((turn.failure for turn in reversed(state.turns) if turn.failure is not None), None)
    kind = ErrorKind.NO_ANSWER if failure is None else _KINDS.get(failure.error_code, ErrorKind.NO_ANSWER)
    return kind, state.ended.reason


_KINDS: Final[Mapping[str, ErrorKind]] = {
    "upstream_timeout": ErrorKind.TIMEOUT,
    "insufficient_quota": ErrorKind.BUDGET,
    "upstream_error": ErrorKind.ENVIRONMENT,
    "unavailable": ErrorKind.ENVIRONMENT,
}
