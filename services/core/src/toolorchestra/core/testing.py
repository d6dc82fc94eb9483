"""Fakes and builders for tests of everything that drives the loop: models, tools and journals that follow a script.

They keep their own bill, so that a test can compare what was charged with what was really used, and they can die where a
process would: ``DiedError`` passes through the loop as ``kill -9`` would end it, and ``take_over`` goes on as another process.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, Final, TypeAlias

from typing_extensions import override

from toolorchestra.core.calls import CallRequest, Executor, Outcome, Status
from toolorchestra.core.chat import (
    ChatModels,
    ChatReply,
    ChatRequest,
    ChatToolCall,
    CompletionReply,
    CompletionRequest,
    InterruptedCallError,
    Meter,
)
from toolorchestra.core.errors import InvalidRequestError, ToolOrchestraError, UpstreamError
from toolorchestra.core.loop.calls import input_tokens
from toolorchestra.core.loop.context import Context, Observer, Wish
from toolorchestra.core.loop.engine import drive
from toolorchestra.core.loop.facts import Limits, Opened, Resumed
from toolorchestra.core.loop.journal import Stamped, Transition
from toolorchestra.core.loop.memory import InlineRunner, MemoryJournal, Purse, SilentObserver
from toolorchestra.core.loop.state import State, fold
from toolorchestra.core.money import NanoUsd
from toolorchestra.core.policies.factory import policy_for
from toolorchestra.core.pricing import Price, Usage, cost
from toolorchestra.core.registry import Catalog, Observation
from toolorchestra.core.resources import API_VERSION, BudgetPolicySpec, ExpertModel, Orchestrator, Resource, Tool
from toolorchestra.core.resources.manifest import parse_resource
from toolorchestra.core.revision import Revision, pin

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
SMALL: Final = Usage(input=100, output=20)


class DiedError(BaseException):
    """The process is gone. Nothing may catch it but the test."""


@dataclass(frozen=True, slots=True)
class Say:
    """The model answers with this text; as a raw completion it is the whole output."""

    text: str = "done"
    reasoning: str = ""
    usage: Usage = SMALL
    finish_reason: str = "stop"
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Use:
    """The model asks for these calls: pairs of name and arguments as JSON text."""

    calls: tuple[tuple[str, str], ...]
    text: str = ""
    usage: Usage = SMALL


@dataclass(frozen=True, slots=True)
class Fail:
    """The model fails. ``used``: what it used before it broke off; None if nothing was sent."""

    used: Usage | None = None
    exact: bool = False
    retryable: bool = True


@dataclass(frozen=True, slots=True)
class Result:
    """A tool or expert answers so. Its cost follows from the function's price."""

    content: str = "42"
    status: Status = Status.OK
    usage: Usage = SMALL
    latency_ms: int = 5
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Die:
    """The process dies while the peer works, which bills ``used`` all the same."""

    used: Usage = SMALL


@dataclass(frozen=True, slots=True)
class Hang:
    """The peer never answers."""


ModelBehaviour: TypeAlias = Say | Use | Fail | Die | Hang
ToolBehaviour: TypeAlias = Result | Die | Hang


@dataclass(slots=True)
class Bill:
    """What a peer says it is owed: for what it answered, and for what nobody was there to hear."""

    heard_nano_usd: NanoUsd = 0
    lost_nano_usd: NanoUsd = 0


class ScriptedModels(ChatModels):
    """Behaves by script, then by ``otherwise`` for ever. ``price`` is what it bills; ``requests`` is what it was asked."""

    def __init__(
        self, script: Iterable[ModelBehaviour] = (), *, price: Price | None = None, otherwise: ModelBehaviour | None = None
    ) -> None:
        self._script: Iterator[ModelBehaviour] = iter(script)
        self._otherwise = otherwise or Say()
        self._price = price or Price()
        self.bill = Bill()
        self.chats: list[ChatRequest] = []
        self.completions: list[CompletionRequest] = []

    @override
    async def chat(self, request: ChatRequest) -> ChatReply:
        self.chats.append(request)
        said = await self._behave(request.meter)
        calls = said.calls if isinstance(said, Use) else ()
        wanted = tuple(ChatToolCall(f"call_{n}", name, arguments) for n, (name, arguments) in enumerate(calls))
        if isinstance(said, Use):
            return ChatReply(said.text, said.usage, tool_calls=wanted, finish_reason="tool_calls")
        return ChatReply(
            said.text, said.usage, reasoning=said.reasoning, finish_reason=said.finish_reason, estimated=said.estimated
        )

    @override
    async def complete(self, request: CompletionRequest) -> CompletionReply:
        self.completions.append(request)
        said = await self._behave(request.meter)
        return CompletionReply(said.text, said.usage)

    async def _behave(self, meter: Meter) -> Say | Use:
        match next(self._script, self._otherwise):
            case Die(used=used):
                self.bill.lost_nano_usd += cost(self._price, usage=used)
                raise DiedError
            case Hang():
                meter.sent = True
                await asyncio.sleep(3_600)
                raise DiedError
            case Fail() as failure:
                raise self._failure(failure, meter)
            case Say() | Use() as said:
                self.bill.heard_nano_usd += cost(self._price, usage=said.usage)
                return said

    def _failure(self, failure: Fail, meter: Meter) -> ToolOrchestraError:
        if not failure.retryable:
            return InvalidRequestError("the model refused the request")
        if failure.used is None:
            return UpstreamError("the model cannot be reached")
        meter.sent, meter.usage, meter.exact = True, failure.used, failure.exact
        self.bill.heard_nano_usd += cost(self._price, usage=failure.used)
        return InterruptedCallError("the model broke off", meter=meter)


class ScriptedExecutor(Executor):
    """Runs calls by script, then by ``otherwise`` for ever. ``requests`` is what it was asked, ``begun`` who was called."""

    def __init__(self, script: Iterable[ToolBehaviour] = (), *, otherwise: ToolBehaviour | None = None) -> None:
        self._script: Iterator[ToolBehaviour] = iter(script)
        self._otherwise = otherwise or Result()
        self.bill = Bill()
        self.requests: list[CallRequest] = []

    @override
    async def execute(self, call: CallRequest) -> Outcome:
        self.requests.append(call)
        call.meter.sent = True
        match next(self._script, self._otherwise):
            case Die(used=used):
                self.bill.lost_nano_usd += cost(call.function.price, usage=_fitting(used, call))
                raise DiedError
            case Hang():
                await asyncio.sleep(3_600)
                raise DiedError
            case Result() as result:
                return self._outcome(call, result)

    def _outcome(self, call: CallRequest, result: Result) -> Outcome:
        usage = _fitting(result.usage, call) if call.function.is_expert else None
        amount = cost(call.function.price, usage=usage, milliseconds=result.latency_ms)
        self.bill.heard_nano_usd += amount
        return Outcome(
            status=result.status,
            content=result.content,
            cost_nano_usd=amount,
            usage=usage,
            latency_ms=result.latency_ms,
            truncated=result.truncated,
        )


def _fitting(usage: Usage, call: CallRequest) -> Usage:
    """No more than a real model can use of what it was sent and allowed."""
    most = input_tokens(call.function, dict(call.arguments))
    return Usage(min(usage.input, most), min(usage.output, call.max_output_tokens), usage.cached)


class StepClock:
    """A clock that goes on by ``step_ms`` with every reading."""

    def __init__(self, step_ms: int = 10) -> None:
        self._step = timedelta(milliseconds=step_ms)
        self._now = EPOCH

    def __call__(self) -> datetime:
        self._now += self._step
        return self._now

    def pass_ms(self, milliseconds: int) -> None:
        """Let time go by."""
        self._now += timedelta(milliseconds=milliseconds)

    def seconds(self) -> float:
        """The time as the loop reads it between two transitions; reading it takes none."""
        return (self._now - EPOCH).total_seconds()


class MortalJournal(MemoryJournal):
    """A journal whose process dies around its n-th transitions: ``before`` they are stored, or ``after``."""

    def __init__(
        self,
        *,
        before: Iterable[int] = (),
        after: Iterable[int] = (),
        clock: StepClock | None = None,
        purse: Purse | None = None,
    ) -> None:
        super().__init__(clock=clock or StepClock(), purse=purse)
        self._before, self._after = frozenset(before), frozenset(after)
        self._count = 0

    @override
    async def commit(self, transition: Transition) -> tuple[Stamped, ...]:
        self._count += 1
        place = self._count
        if place in self._before:
            raise DiedError
        stamped = await super().commit(transition)
        if place in self._after:
            raise DiedError
        return stamped


@dataclass(slots=True)
class Peers:
    """Everything that a run meets."""

    revision: Revision
    models: ScriptedModels = field(default_factory=ScriptedModels)
    executor: ScriptedExecutor = field(default_factory=ScriptedExecutor)
    journal: MemoryJournal = field(default_factory=lambda: MemoryJournal(clock=StepClock()))
    observer: Observer = field(default_factory=SilentObserver)
    cancelled: Wish = field(default_factory=Wish)
    released: Wish = field(default_factory=Wish)

    def context(self, run_id: str = "run") -> Context:
        """One run among these peers. The loop's time goes by as the journal's does."""
        clock = self.journal.clock
        return Context(
            run_id=run_id,
            revision=self.revision,
            journal=self.journal,
            policy=policy_for(self.revision, self.models),
            runner=InlineRunner(self.executor),
            observer=self.observer,
            cancelled=self.cancelled,
            released=self.released,
            clock=clock.seconds if isinstance(clock, StepClock) else monotonic,
        )


async def take_over(peers: Peers, run_id: str = "run", *, most: int = 50) -> State:
    """Drive a stored run on as other processes do: after each death another one takes it over. Its end, or where it parks."""
    state = fold(run_id, peers.journal.log[run_id])
    for _ in range(most):
        try:
            return await drive(peers.context(run_id), state)
        except* DiedError:
            pass
        resumed = Transition(run_id, len(peers.journal.log[run_id]), (Resumed(owner="another"),))
        await MemoryJournal.commit(peers.journal, resumed)
        state = fold(run_id, peers.journal.log[run_id])
    raise AssertionError(f"run {run_id} did not end in {most} lives")


def manifest(kind: str, name: str, spec: Mapping[str, Any], *, namespace: str = "default") -> Resource:
    """A resource as its manifest would give it."""
    metadata = {"name": name, "namespace": namespace}
    return parse_resource({"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": dict(spec)}, source="test")


def a_tool(name: str = "lookup", *, namespace: str = "default", **spec: Any) -> Tool:
    """A Tool with one free text parameter, unless ``spec`` (in camelCase) says otherwise."""
    backends = {"http", "openapi", "mcp", "plugin"} & spec.keys()
    default = {
        "description": f"Does {name}.",
        "parameters": {
            "type": "object",
            "properties": {"query": {"type": "string"}},
            "required": ["query"],
            "additionalProperties": False,
        },
        "sideEffects": "readOnly",
        "pricing": {"perCall": "0.001"},
        **({} if backends else {"plugin": {"name": "test"}}),
    }
    tool = manifest("Tool", name, default | spec, namespace=namespace)
    if not isinstance(tool, Tool):
        raise TypeError(name)
    return tool


def an_expert(name: str = "expert", *, namespace: str = "default", **spec: Any) -> ExpertModel:
    """An ExpertModel inside, unless ``spec`` says otherwise: $1 and $2 per million tokens in and out."""
    servings = {"endpoint", "kserve", "inferenceServiceRef"} & spec.keys()
    default = {
        "description": f"The expert {name}.",
        "model": f"{name}-1",
        "pricing": {"input": "1", "output": "2"},
        "maxOutputTokens": 256,
        **({} if servings else {"endpoint": {"baseUrl": "http://127.0.0.1:9/v1"}}),
    }
    expert = manifest("ExpertModel", name, default | spec, namespace=namespace)
    if not isinstance(expert, ExpertModel):
        raise TypeError(name)
    return expert


def an_orchestrator(name: str = "main", *, namespace: str = "default", **spec: Any) -> Orchestrator:
    """An Orchestrator with the baseline ``cascade``, unless ``spec`` says otherwise."""
    default: dict[str, Any] = {"policy": {"baseline": "cascade"}}
    orchestrator = manifest("Orchestrator", name, default | spec, namespace=namespace)
    if not isinstance(orchestrator, Orchestrator):
        raise TypeError(name)
    return orchestrator


def a_catalog(*resources: Resource, observed: Mapping[tuple[str, str, str], Observation] | None = None) -> Catalog:
    """A catalog of these resources."""
    return Catalog.of(resources, observed)


def a_revision(*resources: Resource, manager: str | None = None, **spec: Any) -> Revision:
    """What a run of an Orchestrator with these tools and experts pins; ``manager`` names the ExpertModel that decides."""
    policy = {"expertModelRef": {"name": manager}} if manager else {"baseline": "cascade"}
    main = an_orchestrator(**({"policy": policy} | spec))
    return pin(a_catalog(main, *resources), "default", "main", BudgetPolicySpec())


def an_opening(question: str = "What is it?", **fields: Any) -> Opened:
    """The opening fact of a run that asks ``question``; ``limits`` may be a mapping of some of them."""
    limits = {"max_turns": 8, "max_output_tokens": 256, "timeout_ms": 300_000} | fields.pop("limits", {})
    default: dict[str, Any] = {
        "model": "main",
        "policy": "test",
        "tenant": "default",
        "key": "key",
        "revision": "test",
        "messages": ({"role": "user", "content": question},),
        "limits": Limits(**limits),
    }
    return Opened(**(default | fields))
