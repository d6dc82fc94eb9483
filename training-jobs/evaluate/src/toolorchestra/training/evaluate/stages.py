"""The stage of an episode: experts, tools and managers as ordinary resources, and what of them a policy's run may use.

The same resources are pinned in memory or written as manifests for a platform, so both play the same run.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Any, Final

from toolorchestra.core.functions import Function
from toolorchestra.core.registry import Catalog
from toolorchestra.core.resources import BudgetPolicySpec, ExpertModel, Orchestrator, Resource, Tool
from toolorchestra.core.resources.meta import API_VERSION, DEFAULT_NAMESPACE
from toolorchestra.core.revision import Revision, functions_for, pin
from toolorchestra.training.evaluate.plan import EpisodeLimits
from toolorchestra.training.evaluate.routers.situation import Card, card_of
from toolorchestra.worlds.serving import typical_ms
from toolorchestra.worlds.world import World

MONOLITH: Final = "monolith:"
PROMPTED: Final = "prompted:"
ORCHESTRATOR: Final = "orchestrator:"
MANAGER: Final = "router-"  # what the stand-in models of routers are named after
UNUSED_URL: Final = "http://127.0.0.1:9/v1"  # nothing is sent there: in memory models are objects
CONTEXT_TOKENS: Final = 1_000_000
BUDGET: Final = BudgetPolicySpec()
_NAME: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class Stage:
    """``name`` is unique in an evaluation. ``functions``: the world's tools behind functions of other names.

    ``world`` is None for questions. ``base_url``: where the managers and experts are served; ``where`` is how a platform finds
    the world.
    """

    name: str
    experts: Sequence[ExpertModel]
    tools: Sequence[Tool]
    limits: EpisodeLimits
    world: World | None = None
    functions: Mapping[str, str] = field(default_factory=dict)
    base_url: str = UNUSED_URL
    namespace: str = DEFAULT_NAMESPACE
    latency_seed: int = 0

    def resources(self, policies: Iterable[str]) -> list[Resource]:
        """All manifests that these policies need."""
        ours = [name for name in policies if not name.startswith(ORCHESTRATOR)]
        managers = [manager(name, self.base_url, self.namespace) for name in ours if ":" not in name]
        return [*self.experts, *self.tools, *managers, *(self.orchestrator(name) for name in ours)]

    def revision(self, policy: str) -> Revision:
        """What a run of this policy pins."""
        if policy not in self._revisions:
            found = self.resources([policy])
            self._revisions[policy] = pin(Catalog.of(found), self.namespace, self.model(policy), BUDGET)
        return self._revisions[policy]

    def model(self, policy: str) -> str:
        """The name by which a platform offers this policy on this stage; an Orchestrator of its own has one already."""
        if policy.startswith(ORCHESTRATOR):
            return policy.removeprefix(ORCHESTRATOR)
        return slug(f"eval-{self.name}-{policy}")

    def orchestrator(self, policy: str) -> Orchestrator:
        """The policy as an Orchestrator that sees this stage's functions and no others."""
        alone = policy.startswith(MONOLITH)
        names = [tool.metadata.name for tool in self.tools]
        names += [] if alone else [expert.metadata.name for expert in self.experts]
        who = policy.partition(":")[2] or manager_name(policy)
        limits = self.limits
        spec = {
            "description": f"Evaluation: {policy} on {self.name}.",
            "policy": {"expertModelRef": {"name": who}},
            "limits": {
                "maxTurns": limits.turns,
                "timeout": f"{limits.seconds}s",
                "maxOutputTokens": limits.output_tokens,
                **({"maxCost": limits.cost_usd} if limits.cost_usd else {}),
            },
            "tools": {"include": names or ["no-function"]},
            "instructions": self.instructions,
        }
        return Orchestrator.model_validate(_body("Orchestrator", self.model(policy), self.namespace, spec))

    @property
    def instructions(self) -> str:
        """What the company tells its staff."""
        return self.world.instructions if self.world else ""

    @cached_property
    def cards(self) -> dict[str, Card]:
        """The experts as routers see them, by function."""
        found, _ = functions_for(Catalog.of(self.experts), self.namespace, BUDGET)
        return {function.name: card_of(function) for function in found}

    @cached_property
    def plain_names(self) -> dict[str, str]:
        """From a function's name to the world's name of the tool, which experts and routers know."""
        found, _ = functions_for(Catalog.of(self.tools), self.namespace, BUDGET)
        return {function.name: _plain(function, self) for function in found}

    def tool_ms(self, tool: str) -> int:
        """The latency of a world's tool in memory."""
        return typical_ms(self.world.name, tool, self.latency_seed) if self.world else 0

    @cached_property
    def _revisions(self) -> dict[str, Revision]:
        return {}


def _plain(function: Function, stage: Stage) -> str:
    plugin = function.target.spec.plugin if function.target.kind == "tool" else None
    return str(plugin.config["tool"]) if plugin is not None and stage.world is not None else function.name


def manager(policy: str, base_url: str, namespace: str) -> ExpertModel:
    """The stand-in model of a router: free, because a rule costs nothing."""
    spec = {
        "description": f"Stand-in for the baseline {policy}.",
        "model": manager_name(policy),
        "endpoint": {"baseUrl": base_url},
        "pricing": {"input": "0", "output": "0"},
        "contextTokens": CONTEXT_TOKENS,
        "maxOutputTokens": 131_072,
        "strength": 0,
        "simulated": True,
    }
    return ExpertModel.model_validate(_body("ExpertModel", manager_name(policy), namespace, spec))


def manager_name(policy: str) -> str:
    """The model that stands in for a router."""
    return f"{MANAGER}{policy}"


def slug(text: str) -> str:
    """A text as the name of a resource, at most 63 letters; what is cut is told apart by a digest."""
    name = _NAME.sub("-", text.lower()).strip("-")
    return name if len(name) <= 63 else f"{name[:52].rstrip('-')}-{_digest(text)}"  # noqa: PLR2004 - Kubernetes' limit


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=5).hexdigest()


def _body(kind: str, name: str, namespace: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": dict(spec)}
