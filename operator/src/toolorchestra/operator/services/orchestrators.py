"""Orchestrators: do the models that decide exist, are they lent, are they ready; and is the model's name its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from toolorchestra.core.preferences import matches
from toolorchestra.core.resources import ExpertModel, Orchestrator, Tool
from toolorchestra.core.resources.orchestrator import PolicySpec
from toolorchestra.operator.plan import Condition, Plan, State, roll_up
from toolorchestra.operator.services.index import Index
from toolorchestra.operator.services.kinds import TYPES, Kind, Reference, Seen

POLICY_READY: Final = "PolicyReady"
MAX_TOLD: Final = 8
UNMATCHED_AGAIN_MS: Final = 10_000


@dataclass(frozen=True, slots=True)
class PolicyObserved:
    """The model that decides: whether it is there for this namespace, and its Ready, if it is known."""

    found: bool
    ready: Condition | None


@dataclass(frozen=True, slots=True)
class OrchestratorObserved:
    """None stands for a policy that needs no model. ``taken``: an ExpertModel has the same name."""

    policy: PolicyObserved | None
    canary: PolicyObserved | None
    taken: bool
    functions: int
    unmatched: str = ""


def orchestrator_kind(index: Index) -> Kind[Orchestrator, OrchestratorObserved]:
    """How Orchestrators are reconciled: from memory alone."""

    async def gather(orchestrator: Orchestrator, _: Seen) -> OrchestratorObserved:
        namespace, name = orchestrator.metadata.namespace, orchestrator.metadata.name
        canary, names = orchestrator.spec.canary, _functions(index, namespace)
        return OrchestratorObserved(
            policy=_observe(index, namespace, orchestrator.spec.policy),
            canary=_observe(index, namespace, canary.policy) if canary else None,
            taken=index.get(Reference("ExpertModel", namespace, name)) is not None,
            functions=len(_chosen(orchestrator, names)),
            unmatched=_unmatched(orchestrator, names),
        )

    return Kind(
        of=TYPES["Orchestrator"],
        model=Orchestrator,
        conditions=("Accepted", POLICY_READY),
        headline="Ready",
        gather=gather,
        reconcile=reconcile_orchestrator,
        uses=used_models,
    )


def reconcile_orchestrator(orchestrator: Orchestrator, observed: OrchestratorObserved) -> Plan:
    """Accepted, PolicyReady, Ready; the model's name, who decides, the canary."""
    spec, name = orchestrator.spec, orchestrator.metadata.name
    canary = _policy_ready(spec.canary.policy, observed.canary, "canary") if spec.canary else None
    policy = _policy_ready(spec.policy, observed.policy, "policy")
    decided = canary if canary is not None and policy.is_true and not canary.is_true else policy
    conditions = [_accepted(name, observed), decided]
    status = {
        "modelName": name,
        "policy": _text(spec.policy),
        "functions": observed.functions,
        "canary": {"state": canary.reason, "weight": spec.canary.weight} if canary and spec.canary else None,
    }
    again_ms = UNMATCHED_AGAIN_MS if observed.unmatched else None  # nobody tells of Tools that come later
    return Plan(conditions=[*conditions, roll_up("Ready", *conditions)], status=status, again_ms=again_ms)


def used_models(orchestrator: Orchestrator) -> list[Reference]:
    """The ExpertModels that it depends on, and the one that would have its name."""
    namespace, canary = orchestrator.metadata.namespace, orchestrator.spec.canary
    policies = [orchestrator.spec.policy, *([canary.policy] if canary else [])]
    refs = [policy.expert_model_ref for policy in policies if policy.expert_model_ref is not None]
    used = [Reference("ExpertModel", ref.namespace or namespace, ref.name) for ref in refs]
    return [*used, Reference("ExpertModel", namespace, orchestrator.metadata.name)]


def _observe(index: Index, namespace: str, policy: PolicySpec) -> PolicyObserved | None:
    ref = policy.expert_model_ref
    if ref is None:
        return None
    owner = ref.namespace or namespace
    entry = index.get(Reference("ExpertModel", owner, ref.name))
    model = entry.resource if entry else None
    mine = owner == namespace
    lent = isinstance(model, ExpertModel) and model.spec.allowed_namespaces.allows(owner=owner, user=namespace)
    return PolicyObserved(found=entry is not None and (mine or lent), ready=entry.condition("Ready") if entry else None)


def _accepted(name: str, observed: OrchestratorObserved) -> Condition:
    if observed.taken:
        text = f"the ExpertModel {name!r} has the same model name; rename one"
        return Condition("Accepted", State.FALSE, "NameCollision", text)
    return Condition("Accepted", State.TRUE, "PatternUnmatched" if observed.unmatched else "Accepted", observed.unmatched)


def _policy_ready(policy: PolicySpec, observed: PolicyObserved | None, role: str) -> Condition:
    """``role`` is ``policy`` or ``canary``: the field that is named, and the first half of the reason."""
    word, field = role.capitalize(), f"spec.{role}" if role == "policy" else "spec.canary.policy"
    if observed is None:
        return Condition(POLICY_READY, State.TRUE, "Baseline")
    what, ref_of = _text(policy), f"{field}.expertModelRef"
    if not observed.found:
        text = f"{ref_of}: {what} does not exist, or is not lent to this namespace (its allowedNamespaces)"
        return Condition(POLICY_READY, State.FALSE, f"{word}NotFound", text)
    ready = observed.ready
    if ready is None or ready.state is State.UNKNOWN:
        return Condition(POLICY_READY, State.UNKNOWN, f"{word}Unknown", f"{what} has not been looked at yet")
    if not ready.is_true:
        return Condition(POLICY_READY, State.FALSE, f"{word}NotReady", f"{ref_of}: {what}: {ready.reason}: {ready.message}")
    return Condition(POLICY_READY, State.TRUE, f"{word}Ready")


def _text(policy: PolicySpec) -> str:
    ref = policy.expert_model_ref
    if ref is None:
        return str(policy.baseline)
    return f"ExpertModel/{ref.namespace}/{ref.name}" if ref.namespace else f"ExpertModel/{ref.name}"


def _functions(index: Index, namespace: str) -> set[str]:
    """The functions of a namespace and those lent to it."""
    return {name for name, owner in index.functions() if _usable(index, owner, namespace)}


def _chosen(orchestrator: Orchestrator, names: set[str]) -> list[str]:
    """The functions that its selector picks."""
    selector = orchestrator.spec.tools
    return [name for name in names if matches(name, selector.include) and not matches(name, selector.exclude)]


def _whole_names(patterns: Sequence[str]) -> list[str]:
    """Those without wildcards: a pattern may well keep out what is not there yet, a name has a typing error then."""
    return [pattern for pattern in patterns if not set(pattern) & set("*?[")]


def _unmatched(orchestrator: Orchestrator, names: set[str]) -> str:
    """The patterns that match no function, in words; "" if each matches one."""
    tools, preference = orchestrator.spec.tools, orchestrator.spec.default_preference
    fields = {
        "spec.tools.include": [pattern for pattern in tools.include if pattern != "*"],
        "spec.tools.exclude": _whole_names(tools.exclude),
        "spec.defaultPreference.allow": preference.allow,
        "spec.defaultPreference.deny": _whole_names(preference.deny),
        "spec.defaultPreference.weights.tools": list(preference.weights.tools),
    }
    wrong = [
        (field, one) for field, patterns in fields.items() for one in patterns if not any(matches(n, [one]) for n in names)
    ]
    told = ", ".join(f"{field}: {pattern!r}" for field, pattern in wrong[:MAX_TOLD])
    return f"{told} matches no function that may be used here; correct it, or create the Tool" if told else ""


def _usable(index: Index, owner: Reference, namespace: str) -> bool:
    if owner.namespace == namespace:
        return True
    entry = index.get(owner)
    resource = entry.resource if entry else None
    return isinstance(resource, Tool | ExpertModel) and resource.spec.allowed_namespaces.allows(
        owner=owner.namespace, user=namespace
    )
