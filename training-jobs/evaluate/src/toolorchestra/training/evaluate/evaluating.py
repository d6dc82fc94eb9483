"""A whole evaluation: stage the plan, play what is missing, write the report. The one way in for commands and jobs."""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from signal import Signals
from typing import Final

import httpx

from toolorchestra.core.chat import ChatModels
from toolorchestra.training.evaluate.dialogues import Users
from toolorchestra.training.evaluate.episodes import Entry, entries_of
from toolorchestra.training.evaluate.errors import InvalidPlanError
from toolorchestra.training.evaluate.http_models import HttpModels
from toolorchestra.training.evaluate.judging import JUDGE, USER, Jury, key_of, make_jury, require_url, target_of
from toolorchestra.training.evaluate.keys import Circumstances
from toolorchestra.training.evaluate.memory import MemoryPlayer
from toolorchestra.training.evaluate.notes import notes_on
from toolorchestra.training.evaluate.output import write_picture, write_report
from toolorchestra.training.evaluate.parts import SkillRow
from toolorchestra.training.evaluate.plan import EvaluationPlan, ModelPlan
from toolorchestra.training.evaluate.processes import ProcessPlayer
from toolorchestra.training.evaluate.real_skills import Routes, plugin_routes, real_rows
from toolorchestra.training.evaluate.records import Recorded, RecordFile, read_records
from toolorchestra.training.evaluate.report import Report, build_report
from toolorchestra.training.evaluate.running import Player, Progress, Runner
from toolorchestra.training.evaluate.skills import skill_rows
from toolorchestra.training.evaluate.staging import Staged, stage_plan
from toolorchestra.training.evaluate.stopping import Told
from toolorchestra.training.evaluate.training import Choices, digest_of, lessons_of, text_choices

RECORDS_NAME: Final = "episodes.jsonl"
FEW: Final = 60  # episodes that are not worth starting processes for


@dataclass(frozen=True)
class Prepared:
    """A plan that was read: all episodes, and all that is needed to play them."""

    staged: Staged
    jury: Jury
    users: Users
    entries: Sequence[Entry]
    choices: dict[str, Choices]
    around: Circumstances
    notes: tuple[str, ...] = ()

    @property
    def plan(self) -> EvaluationPlan:
        return self.staged.plan


@dataclass(frozen=True, slots=True)
class Outside:
    """Models beside the evaluated ones: what the judge is asked through, and who plays the users of dialogues."""

    judge: ChatModels | None
    users: Users


@dataclass(frozen=True, slots=True)
class Done:
    """The report and where it was written. ``told``: the signal that ended it early, if one did."""

    report: Report
    files: tuple[Path, ...]
    folder: Path
    told: Signals | None = None


def quiet(*_: object) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class Evaluation:
    """One evaluation into one folder. ``tell`` hears what is under way, ``progress`` each episode."""

    plan: EvaluationPlan
    folder: Path
    fresh: bool = False
    tell: Callable[[str], None] = quiet
    progress: Progress = field(default=quiet)

    async def run(self) -> Done:
        """Play in this machine's memory. Raises what reading the plan raises; what was recorded stays."""
        if self.plan.needs_platform:
            raise InvalidPlanError(
                "policies: prompted:… and orchestrator:… are played by a platform", param="policies", hint="add --platform"
            )
        async with AsyncExitStack() as stack:
            prepared = self.prepare(stage_plan(self.plan), await outside_models(self.plan, stack))
            player = memory_player(prepared, stack)
            return await self.play(prepared, player, plugin_routes(prepared.staged))

    def prepare(self, staged: Staged, outside: Outside, around: Circumstances | None = None) -> Prepared:
        """Everything that is settled before the first episode; routers learn only if something is left to play."""
        jury, lessons, notes = make_jury(staged, outside.judge), lessons_of(staged), notes_on(staged)
        around = (around or Circumstances()).knowing({name: digest_of(name, staged, one) for name, one in lessons.items()})
        entries = entries_of(staged, around)
        recorded = () if self.fresh else read_records(self.folder / RECORDS_NAME).episodes
        known = {episode.key for episode in recorded if episode.counts}
        missing = [entry for entry in entries if entry.job.key not in known]
        if missing and lessons:
            self.tell(f"the routers {' and '.join(sorted(lessons))} read {len(staged.subjects)} requests")
        choices = text_choices(staged, lessons) if missing else {}
        return Prepared(staged, jury, outside.users, entries, choices, around, notes)

    async def play(self, prepared: Prepared, player: Player, routes: Routes) -> Done:
        """Play what is missing, call the real tools by ``routes`` to measure them, and write the report."""
        jobs = [entry.job for entry in prepared.entries]
        with Told() as told:
            with RecordFile(self.folder / RECORDS_NAME, fresh=self.fresh) as file:
                self.tell(f"{len(jobs)} episodes, {sum(job.key in file for job in jobs)} of them recorded already")
                recorded = await Runner(player, self.plan.limits, self.progress, told=told).run(jobs, file)
            done = report_on(prepared, recorded, self.folder, await measured(prepared.staged, recorded, routes))
        return replace(done, told=told.by if recorded.stopped else None)


async def outside_models(plan: EvaluationPlan, stack: AsyncExitStack) -> Outside:
    """Those that the plan names. Raises InvalidPlanError where a key is missing, or an address is none."""
    judge = await _models(plan.judge, JUDGE, stack)
    if plan.user is None:
        return Outside(judge, Users())
    return Outside(judge, Users(await _models(plan.user, USER, stack), target_of(plan.user, USER), plan.seed))


async def _models(plan: ModelPlan | None, name: str, stack: AsyncExitStack) -> ChatModels | None:
    if plan is None:
        return None
    require_url(plan, name)
    client = await stack.enter_async_context(httpx.AsyncClient())
    return HttpModels(client, key=key_of(plan, name))


def memory_player(prepared: Prepared, stack: AsyncExitStack) -> Player:
    """Processes where that pays and nothing but the plan is needed, else this process."""
    plan, width = prepared.plan, prepared.plan.limits.parallel
    if width > 1 and len(prepared.entries) > FEW and plan.judge is None and plan.user is None:
        return stack.enter_context(ProcessPlayer(plan, prepared.choices, width, prepared.around))
    return MemoryPlayer(prepared.staged, prepared.jury, prepared.entries, prepared.choices, users=prepared.users)


async def measured(staged: Staged, recorded: Recorded, routes: Routes) -> Sequence[SkillRow]:
    """The skills of real tools; none after an early end, which may have been theirs."""
    return () if recorded.stopped else await real_rows(staged, routes)


def report_on(prepared: Prepared, recorded: Recorded, folder: Path, real: Sequence[SkillRow] = ()) -> Done:
    """Write the report of what is recorded. Raises InvalidPlanError when nothing is."""
    skills = [*skill_rows(prepared.staged, recorded.episodes), *real]
    report = build_report(recorded, prepared.plan.reported(prepared.notes), skills=skills)
    return Done(report, (*write_report(report, folder), write_picture(report, folder)), folder)
