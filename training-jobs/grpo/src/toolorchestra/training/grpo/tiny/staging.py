"""Route tasks as scenes: drawn tools as ordinary resources, their calls answered here, their worth by the reference reward."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from typing_extensions import override

from toolorchestra.core.calls import CallRequest, Executor, Outcome, Status
from toolorchestra.core.loop.facts import Limits, Opened, Sampling
from toolorchestra.core.loop.state import State
from toolorchestra.core.money import NanoUsd, parse_usd
from toolorchestra.core.policies.history import TYPICAL_INPUT_TOKENS, TYPICAL_OUTPUT_TOKENS
from toolorchestra.core.pricing import Usage
from toolorchestra.core.registry import Catalog
from toolorchestra.core.resources import BudgetPolicySpec, ExpertModel, Orchestrator, Tool
from toolorchestra.core.resources.meta import API_VERSION, DEFAULT_NAMESPACE
from toolorchestra.core.resources.orchestrator import PreferenceSpec
from toolorchestra.core.revision import Revision, pin
from toolorchestra.core.rewards.episodes import EpisodeOutcome, Rollout
from toolorchestra.core.rewards.forms import Form, rewarded
from toolorchestra.core.rewards.yardstick import Yardstick
from toolorchestra.training.grpo.scenes import Scene, Source
from toolorchestra.training.grpo.tiny.routes import DESCRIPTIONS, Card, Draw, Family, RouteTask, wrong

MANAGER: Final = "manager"
MODEL: Final = "routes"
UNUSED_URL: Final = "http://127.0.0.1:9/v1"  # nothing is sent there: the manager is in this process
TEMPERATURE: Final = 1.0
LIMITS: Final = Limits(max_turns=4, max_output_tokens=24, timeout_ms=120_000)
QUESTION: Final = "question"  # the argument of experts
ARGUMENTS: Final = {Family.CALCULATOR: "expression", Family.REGISTER: "order"}


@dataclass(frozen=True, slots=True)
class Routes(Source):
    """``count`` tasks of a draw."""

    draw: Draw
    count: int
    temperature: float = TEMPERATURE

    @override
    def __len__(self) -> int:
        return self.count

    @override
    def scene(self, number: int) -> Scene:
        return scene_of(self.draw.task(number), temperature=self.temperature)


def scene_of(task: RouteTask, *, temperature: float = TEMPERATURE) -> Scene:
    """The task, pinned."""
    revision = revision_of(task.cards)
    return Scene(
        id=task.id,
        revision=revision,
        opened=_opened(task, revision, temperature),
        executor=lambda: RouteExecutor(task),
        judge=lambda state: outcome_of(task, state),
        yardstick=yardstick_of(task),
        explorable=tuple(card.name for card in task.cards),
    )


def yardstick_of(task: RouteTask) -> Yardstick:
    """Against the dearest and the slowest of the list, so that every difference counts."""
    names = tuple(card.name for card in task.cards)
    dearest = max(parse_usd(card.usd) for card in task.cards)
    return Yardstick(task.wish.weights, names, dearest, max(card.latency_ms for card in task.cards))


def worths(task: RouteTask) -> Mapping[str, float]:
    """What calling each tool, and handing its answer on, is worth by the reference reward, own generation left out."""
    ends = [(card, EpisodeOutcome.OK if card.knows(task.kind) else EpisodeOutcome.WRONG) for card in task.cards]
    rollouts = [Rollout(end, parse_usd(card.usd), card.latency_ms, {card.name: 1}) for card, end in ends]
    found = rewarded(rollouts, yardstick_of(task), Form.REFERENCE).rewards
    return {card.name: worth for (card, _), worth in zip(ends, found, strict=True)}


def oracle(task: RouteTask) -> Card:
    """The tool that is worth most; of equal ones the cheapest, then the quickest."""
    worth = worths(task)
    return max(task.cards, key=lambda card: (round(worth[card.name], 9), -card.price, -card.latency))


@dataclass(frozen=True, slots=True)
class RouteExecutor(Executor):
    """Answers calls as the drawn tools would: right where the tool knows, and was asked the right thing."""

    task: RouteTask

    @override
    async def execute(self, call: CallRequest) -> Outcome:
        card = self.task.card(call.function.name)
        if card is None:
            raise LookupError(f"{call.function.name!r} is not a tool of task {self.task.id}")
        right = card.knows(self.task.kind) and _asked(card, call.arguments) == _wanted(card, self.task)
        return Outcome(
            status=Status.OK,
            content=self.task.answer if right else wrong(self.task.answer),
            cost_nano_usd=_cost(card),
            usage=Usage(TYPICAL_INPUT_TOKENS, TYPICAL_OUTPUT_TOKENS) if card.is_expert else None,
            latency_ms=card.latency_ms,
        )


def outcome_of(task: RouteTask, state: State) -> EpisodeOutcome:
    """Right if the answer is, word for word."""
    answer = state.ended.answer if state.ended is not None and state.ended.status == "completed" else None
    return EpisodeOutcome.OK if answer is not None and answer.strip() == task.answer else EpisodeOutcome.WRONG


def _cost(card: Card) -> NanoUsd:
    return parse_usd(card.usd)


def _asked(card: Card, arguments: Mapping[str, Any]) -> str:
    return str(arguments.get(ARGUMENTS.get(card.family, QUESTION), ""))


def _wanted(card: Card, task: RouteTask) -> str:
    return task.question if card.is_expert else task.argument


def _opened(task: RouteTask, revision: Revision, temperature: float) -> Opened:
    return Opened(
        model=MODEL,
        policy=f"expert:{DEFAULT_NAMESPACE}/{MANAGER}",
        tenant=DEFAULT_NAMESPACE,
        key="training",
        revision=revision.id,
        messages=({"role": "user", "content": task.question},),
        preference=PreferenceSpec(words=task.wish.words, weights=task.wish.weights),
        limits=LIMITS.model_copy(update={"max_cost_nano_usd": task.limit_nano_usd}),
        sampling=Sampling(temperature=temperature),
    )


@lru_cache(maxsize=4_096)
def revision_of(cards: tuple[Card, ...]) -> Revision:
    """What a run with these tools pins."""
    tools = {(DEFAULT_NAMESPACE, card.name): _tool(card) for card in cards if not card.is_expert}
    experts = {(DEFAULT_NAMESPACE, card.name): _expert(card) for card in cards if card.is_expert}
    manager = _model(MANAGER, "The manager.", "0", "0", 1_000)
    spec = {
        "policy": {"expertModelRef": {"name": MANAGER}, "format": "signatures"},
        "tools": {"include": [card.name for card in cards]},
    }
    orchestrator = Orchestrator.model_validate(_body("Orchestrator", MODEL, spec))
    catalog = Catalog(
        version=1,
        tools=tools,
        experts={**experts, (DEFAULT_NAMESPACE, MANAGER): manager},
        orchestrators={(DEFAULT_NAMESPACE, MODEL): orchestrator},
    )
    return pin(catalog, DEFAULT_NAMESPACE, MODEL, BudgetPolicySpec())


def _tool(card: Card) -> Tool:
    argument = ARGUMENTS[card.family]
    spec = {
        "description": DESCRIPTIONS[card.family],
        "parameters": {"type": "object", "properties": {argument: {"type": "string"}}, "required": [argument]},
        "plugin": {"name": "routes"},
        "pricing": {"perCall": card.usd},
        "typicalLatency": f"{card.latency_ms}ms",
        "sideEffects": "readOnly",
    }
    return Tool.model_validate(_body("Tool", card.name, spec))


def _expert(card: Card) -> ExpertModel:
    """Priced by input alone, so that a typical call comes to the drawn price."""
    per_million = parse_usd(card.usd) * 1_000_000 // TYPICAL_INPUT_TOKENS
    return _model(card.name, DESCRIPTIONS[card.family], str(per_million / 1_000_000_000), "0", card.latency_ms)


def _model(name: str, description: str, price_in: str, price_out: str, latency_ms: int) -> ExpertModel:
    spec = {
        "description": description,
        "model": name,
        "endpoint": {"baseUrl": UNUSED_URL},
        "pricing": {"input": price_in, "output": price_out},
        "typicalLatency": f"{latency_ms}ms",
    }
    return ExpertModel.model_validate(_body("ExpertModel", name, spec))


def _body(kind: str, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": name, "namespace": DEFAULT_NAMESPACE},
        "spec": dict(spec),
    }
