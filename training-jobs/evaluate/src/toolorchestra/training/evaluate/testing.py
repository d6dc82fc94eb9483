"""Builders of records for tests of everything that reads them."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from toolorchestra.core.resources.orchestrator import Weights
from toolorchestra.training.evaluate.records import Ceiling, Episode, Expert, episode_key

STRONG, WEAK = "strong", "weak"


def an_episode(**fields: Any) -> Episode:
    """A solved episode of policy ``main``, unless ``fields`` say otherwise; its key follows from them."""
    default: dict[str, Any] = {
        "suite": "worlds", "task": "t0", "cluster": "c0", "policy": "main", "success": True,
        "cost_nano_usd": 1_000_000, "latency_ms": 1_000, "turns": 2,
    }  # fmt: skip
    content = default | fields
    task = {name: str(content.get(name)) for name in ("suite", "task", "preference")}
    settings = {name: content.get(name, 0) for name in ("seed", "repeat")}
    key = fields.get("key") or episode_key(task, {"policy": content["policy"]}, settings)
    return Episode(**(content | {"key": key}))


@dataclass(frozen=True, slots=True)
class Habit:
    """A made-up policy: how often it is right, what a task costs, and which share of its calls goes to the strong expert."""

    success: float
    cost_usd: float
    strong: float = 0.5


def made_up(habits: Mapping[str, Habit], *, tasks: int = 200, clusters: int = 50, seed: int = 0) -> list[Episode]:
    """Episodes of made-up policies on the same tasks: clusters differ in difficulty, and every other task weighs cost."""
    draw = Random(seed)
    ease = [draw.gauss(0, 0.15) for _ in range(clusters)]
    return [
        _made_up(draw, number, number % clusters, policy, habit, ease[number % clusters])
        for number in range(tasks)
        for policy, habit in habits.items()
    ]


def _made_up(draw: Random, number: int, cluster: int, policy: str, habit: Habit, ease: float) -> Episode:
    right = habit.success in (0, 1)
    calls = [STRONG if draw.random() < habit.strong else WEAK for _ in range(3)]
    return an_episode(
        task=f"t{number}",
        cluster=f"c{cluster}",
        topic=("railway", "travel")[cluster % 2],
        policy=policy,
        seed=7,
        success=draw.random() < (habit.success if right else min(0.99, max(0.01, habit.success + ease))),
        cost_nano_usd=int(habit.cost_usd * 1e9 * draw.uniform(0.5, 1.5)),
        latency_ms=draw.randint(500, 4_000),
        turns=draw.randint(1, 6),
        calls={name: calls.count(name) for name in sorted(set(calls))},
        experts={STRONG: Expert(strongest=True), WEAK: Expert()},
        offered=(STRONG, WEAK),
        preference=Weights(accuracy=1.0, cost=0.5) if number % 2 else None,
        ceiling=Ceiling(cost_nano_usd=50_000_000, latency_ms=5_000),
        simulated=True,
        run_id=f"run-{policy}-{number}",
    )
