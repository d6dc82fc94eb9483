"""Plays episodes on a real platform: real ledger, real spans, real tools. What it needs is written as manifests.

Routers and simulated experts are served by this process, and the platform's ExpertModels lead here.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any, Final, Protocol, TypeAlias

import httpx
import yaml
from typing_extensions import override

from toolorchestra.core.chat import ChatModels
from toolorchestra.core.errors import NotFoundError, ToolOrchestraError, UnavailableError
from toolorchestra.core.functions import ExpertTarget
from toolorchestra.core.pricing import Usage
from toolorchestra.core.resources import ExpertModel, Resource
from toolorchestra.core.storable import parse_object
from toolorchestra.training.evaluate.actors import Company
from toolorchestra.training.evaluate.dialogues import Messages, converse
from toolorchestra.training.evaluate.episodes import Entry, Observed, failed, policies_on, record, repeat_of
from toolorchestra.training.evaluate.errors import InvalidPlanError
from toolorchestra.training.evaluate.evaluating import Done, Evaluation, Prepared, outside_models
from toolorchestra.training.evaluate.judging import Graded, make_jury
from toolorchestra.training.evaluate.keys import Circumstances
from toolorchestra.training.evaluate.plan import REAL
from toolorchestra.training.evaluate.real_skills import platform_routes
from toolorchestra.training.evaluate.records import Episode, ErrorKind
from toolorchestra.training.evaluate.remote import Address, RefusedError, ask, client_of
from toolorchestra.training.evaluate.running import Job, Player
from toolorchestra.training.evaluate.serving import ModelServer
from toolorchestra.training.evaluate.stages import MONOLITH, ORCHESTRATOR
from toolorchestra.training.evaluate.staging import Staged, stage_plan
from toolorchestra.training.evaluate.training import Choices
from toolorchestra.worlds.errors import BrokenToolError
from toolorchestra.worlds.serving import calls_of
from toolorchestra.worlds.simulation.user import ASK_USER_TOOL, SimulatedUser
from toolorchestra.worlds.tasks import Task

MANIFESTS: Final = "manifests"
READY_S: Final = 120.0
POLL_S: Final = 0.5
MOST_QUESTIONS: Final = 12  # of one run to its user


class Connect(Protocol):
    """Gives a platform that reads the manifests in a folder and reaches ``models`` (``host:port``), while it is used."""

    def __call__(self, manifests: Path, models: str) -> AbstractAsyncContextManager[Address]:
        """Raises UnavailableError."""
        ...


def named_platform(url: str | None, key_env: str) -> Connect:
    """The platform of a plan: it runs, somebody applies the manifests, and the key stands in an environment variable."""

    @asynccontextmanager
    async def connect(manifests: Path, models: str) -> AsyncIterator[Address]:
        del manifests, models
        key = os.environ.get(key_env, "")
        if url is None or not key:
            field_name, what = ("platform.url", "no platform is named") if url is None else (key_env, f"{key_env} is not set")
            raise InvalidPlanError(what, param=field_name, hint="write platform.url into the plan, and export the key")
        yield Address(url.rstrip("/"), key)

    return connect


@dataclass(frozen=True)
class PlatformEvaluation(Evaluation):
    """An evaluation on a platform. ``connect`` gives it; default: the one that the plan names."""

    connect: Connect | None = None

    @override
    async def run(self) -> Done:
        hall = Hall()
        connect = self.connect or named_platform(self.plan.platform.url, self.plan.platform.key_env)
        async with AsyncExitStack() as stack:
            server = stack.enter_context(ModelServer(hall.find, hall.names))
            staged = stage_plan(self.plan, base_url=server.url, namespace=self.plan.platform.namespace)
            outside = await outside_models(self.plan, stack)
            make_jury(staged, outside.judge)  # what is wrong with it is told before a platform is started
            hall.open(staged)
            manifests = write_manifests(staged, self.folder / MANIFESTS)
            self.tell(f"{manifests} manifests in {self.folder / MANIFESTS}")
            address = await stack.enter_async_context(connect(self.folder / MANIFESTS, server.address))
            self.tell(f"plays on the platform at {address.url}")
            client = await stack.enter_async_context(client_of(address, self.plan.limits.parallel))
            offered = await wait_until_offered(client, staged)
            prepared = self.prepare(staged, outside, Circumstances(address.name, behind(self.plan.policies, offered)))
            hall.teach(prepared.choices)
            width = self.plan.limits.parallel
            return await self.play(prepared, PlatformPlayer(prepared, client, width), await platform_routes(client, width))


class Hall:
    """All models that a platform may ask for here, once they are known."""

    def __init__(self) -> None:
        self._companies: dict[int, Company] = {}
        self._staged: Staged | None = None
        self._choices: Mapping[str, Choices] = {}
        self._targets: dict[str, tuple[str, ExpertTarget]] = {}  # by model: the stage, and the model itself

    def teach(self, choices: Mapping[str, Choices]) -> None:
        """What the text-only routers chose."""
        self._choices = choices
        self._companies.clear()

    def open(self, staged: Staged) -> None:
        """From now on these are served."""
        self._staged = staged
        for stage in staged.stages.values():
            for resource in stage.resources(policies_on(staged, stage.name)):
                if isinstance(resource, ExpertModel):
                    spec, name = resource.spec, resource.metadata.name
                    target = ExpertTarget(namespace=stage.namespace, name=name, spec=spec, base_url=stage.base_url)
                    self._targets.setdefault(spec.model, (stage.name, target))

    def names(self) -> list[str]:
        """Names of all models."""
        return sorted(self._targets)

    def find(self, model: str, session: str | None) -> tuple[ChatModels, ExpertTarget]:
        """Who plays a model in a session. Raises NotFoundError."""
        if self._staged is None or model not in self._targets:
            raise NotFoundError(f"the model {model!r} is not served here", param="model")
        stage, target = self._targets[model]
        company = self._company(self._staged, repeat_of(session))
        experts = company.experts[stage]
        return (experts if model in experts.cast.names else company.routers), target

    def _company(self, staged: Staged, repeat: int) -> Company:
        if repeat not in self._companies:
            self._companies[repeat] = Company(staged, self._choices, staged.plan.seed + repeat)
        return self._companies[repeat]


def write_manifests(staged: Staged, folder: Path) -> int:
    """One file per stage; how many manifests there are. A resource that several stages share stands in one of them."""
    folder.mkdir(parents=True, exist_ok=True)
    seen: set[tuple[str, str]] = set()
    for stage in staged.stages.values():
        resources = stage.resources(policies_on(staged, stage.name))
        new = [one for one in resources if (one.kind, one.metadata.name) not in seen]
        seen.update((one.kind, one.metadata.name) for one in new)
        text = yaml.safe_dump_all([_manifest(one) for one in new], sort_keys=False, allow_unicode=True)
        (folder / f"{stage.name}.yaml").write_text(text, encoding="utf-8")
    return len(seen)


def _manifest(resource: Resource) -> dict[str, Any]:
    return resource.model_dump(mode="json", by_alias=True, exclude_unset=True)


Offered: TypeAlias = Mapping[str, Any]  # what a platform tells about each of its models, by name


async def wait_until_offered(client: httpx.AsyncClient, staged: Staged, *, most_s: float = READY_S) -> Offered:
    """Wait until the platform offers every policy; all that it offers. Raises UnavailableError with what is missing."""
    wanted = {stage.model(policy) for stage in staged.stages.values() for policy in policies_on(staged, stage.name)}
    deadline = asyncio.get_running_loop().time() + most_s
    while True:
        body = await ask(client, "GET", "/v1/models")
        offered = {str(model["id"]): model.get("toolorchestra", {}) for model in body["data"]}
        missing = wanted - offered.keys()
        if not missing:
            return offered
        if asyncio.get_running_loop().time() > deadline:
            break
        await asyncio.sleep(POLL_S)
    raise UnavailableError(
        f"the platform does not offer {min(missing)!r}, and {len(missing) - 1} more of {len(wanted)}",
        hint=f"apply the folder {MANIFESTS} to it; `toolorchestra models` lists what it offers",
    )


def behind(policies: Iterable[str], offered: Offered) -> dict[str, list[Any]]:
    """What a platform has under the names of its own managers, so that what is played anew is what was changed there."""
    found: dict[str, list[Any]] = {}
    for policy in policies:
        if policy.startswith(REAL):
            about = offered.get(policy.partition(":")[2], {})
            manager = str(about.get("policy", "")).removeprefix("expert:")  # of an Orchestrator
            found[policy] = [about, offered.get(manager)]
    return found


@dataclass(frozen=True, slots=True)
class Told:
    """A run that is over: what the user was told, and its document."""

    answer: str
    run: Mapping[str, Any]


def told_in(told: Told) -> str | None:
    """What the user was told in a run; None where it failed, or was capped."""
    return told.answer if told.run["status"] == "completed" else None


@dataclass(frozen=True)
class PlatformPlayer(Player):
    """``start`` tells this start's sessions from those of an earlier one, which the platform may remember."""

    prepared: Prepared
    client: httpx.AsyncClient
    width: int
    batch: int = 1
    start: str = field(default_factory=lambda: f".{token_hex(4)}")

    @override
    async def play(self, jobs: Sequence[Job]) -> Sequence[Episode]:
        return [await self._play(self.prepared.entries[job.number]) for job in jobs]

    async def _play(self, entry: Entry) -> Episode:
        staged = self.prepared.staged
        try:
            return record(staged, entry, await self._observe(entry))
        except RefusedError as error:
            kind = ErrorKind.BUDGET if error.remote == "insufficient_quota" else ErrorKind.ENVIRONMENT
            return failed(staged, entry, kind, str(error))
        except ToolOrchestraError as error:
            return failed(staged, entry, ErrorKind.ENVIRONMENT, str(error))

    async def _observe(self, entry: Entry) -> Observed:
        subject, stage = entry.subject, self.prepared.staged.stages[entry.subject.stage]

        async def run(messages: Messages, number: int) -> Told:
            del number
            return await self._run(entry, messages)

        runs = await converse(subject.opening, run, told_in, self.prepared.users.of(subject), most=stage.limits.runs)
        documents = [one.run for one in runs]
        calls = [call for one in documents if stage.world for call in calls_of(one, stage.world, functions=stage.functions)]
        graded = await self.prepared.jury.judge(subject, calls, "\n".join(one.answer for one in runs))
        offered = {*stage.cards, *stage.plain_names, *(called_in(documents) if is_own(entry.policy) else ())}
        return observed_in(documents, runs[-1].answer, graded, sorted(offered), alone=is_alone(entry.policy))

    async def _run(self, entry: Entry, messages: Messages) -> "Told":
        """One run to its end; questions to the user are answered on the way."""
        body = self._request(entry, messages)
        for _ in range(MOST_QUESTIONS + 1):
            reply = await ask(self.client, "POST", "/v1/chat/completions", body)
            message = reply["choices"][0]["message"]
            if not message.get("tool_calls"):
                break
            answers = [_told(entry, call) for call in message["tool_calls"]]
            body = {**body, "messages": [*body["messages"], message, *answers]}
        run_id = str(reply["toolorchestra"]["run_id"])
        return Told(str(message.get("content") or ""), await ask(self.client, "GET", f"/v1/runs/{run_id}"))

    def _request(self, entry: Entry, messages: Messages) -> dict[str, Any]:
        subject = entry.subject
        stage = self.prepared.staged.stages[subject.stage]
        wish = subject.wish.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        session = entry.session(self.start)
        return {
            "model": stage.model(entry.policy),
            "messages": [dict(one) for one in messages],
            "seed": self.prepared.plan.seed + entry.repeat,
            "toolorchestra": {
                **({"preference": wish} if wish else {}),
                **({"session": session} if session else {}),
                "progress": False,
            },
            **({"tools": [dict(ASK_USER_TOOL)]} if isinstance(subject.source, Task) else {}),
        }


def _told(entry: Entry, call: Mapping[str, Any]) -> dict[str, Any]:
    """What the user of a task says to a call of ``ask_user``."""
    source = entry.subject.source
    question = str(parse_object(call["function"]["arguments"] or "{}").get("question", ""))
    said = SimulatedUser(source.user).answer(question) if isinstance(source, Task) else ""
    return {"role": "tool", "tool_call_id": call["id"], "content": said or "I have nothing to add."}


def is_own(policy: str) -> bool:
    """Whether an Orchestrator of the platform plays, which may be offered more than the evaluation knows."""
    return policy.startswith(ORCHESTRATOR)


def called_in(runs: Sequence[Mapping[str, Any]]) -> set[str]:
    """The functions that were really called."""
    return {str(call["function"]) for run in runs for turn in run["turns"] for call in turn["calls"] if call["sent"]}


def is_alone(policy: str) -> bool:
    """Whether a simulated expert manages, whose silence is its own."""
    return policy.startswith(MONOLITH)


def observed_in(
    runs: Sequence[Mapping[str, Any]], answer: str, graded: Graded, offered: Sequence[str], *, alone: bool = False
) -> Observed:
    """What was observed of an episode on a platform, from the documents of its runs; its end is that of the last one.

    A manager that cannot be reached is a failure of the environment, unless it is simulated (``alone``): then it is late.
    """
    run = runs[-1]
    calls = [call for one in runs for turn in one["turns"] for call in turn["calls"]]
    broken = next((call for call in calls if call["error_code"] == BrokenToolError.code), None)
    names = [str(call["function"]) for call in calls]
    ended = run["status"] == "completed"
    reason = str((run.get("answer") or {}).get("reason") or "")
    unreached = bool(run["turns"]) and run["turns"][-1]["error"] is not None
    silent = ErrorKind.TIMEOUT if alone else ErrorKind.ENVIRONMENT if unreached else ErrorKind.NO_ANSWER
    kind = ErrorKind.ENVIRONMENT if broken else None if ended else silent
    return Observed(
        graded=graded,
        cost_nano_usd=sum(int(one["cost_nano_usd"]) for one in runs),
        latency_ms=sum(int(one["duration_ms"] or 0) for one in runs),
        turns=sum(len(one["turns"]) for one in runs),
        usage=Usage(
            sum(int(one["usage"]["prompt_tokens"]) for one in runs), sum(int(one["usage"]["completion_tokens"]) for one in runs)
        ),
        calls={name: names.count(name) for name in dict.fromkeys(names) if name in offered},
        offered=offered,
        answer=answer,
        error=kind,
        error_message="" if kind is None else str(broken["result"]) if broken else reason,
        run_id=str(run["id"]),
    )
