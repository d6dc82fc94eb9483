"""Orchestrators: do the models that decide exist, are they lent, are they ready; and is the model's name its own."""

from dataclasses import dataclass
from typing import Final

from toolorchestra.core.preferences import matches
from toolorchestra.core.resources import ExpertModel, Orchestrator, Tool
from toolorchestra.core.resources.orchestrator import PolicySpec
from toolorchestra.operator.plan import Condition, Plan, State, roll_up
from toolorchestra.operator.services.index import Index
from toolorchestra.operator.services.kinds import TYPES, Kind, Reference, Seen

POLICY_READY: Final = "PolicyReady"


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


def orchestrator_kind(index: Index) -> Kind[Orchestrator, OrchestratorObserved]:
    """How Orchestrators are reconciled: from memory alone."""

    async def gather(orchestrator: Orchestrator, _: Seen) -> OrchestratorObserved:
        namespace, name = orchestrator.metadata.namespace, orchestrator.metadata.name
        canary = orchestrator.spec.canary
        return OrchestratorObserved(
            policy=_observe(index, namespace, orchestrator.spec.policy),
            canary=_observe(index, namespace, canary.policy) if canary else None,
            taken=index.get(Reference("ExpertModel", namespace, name)) is not None,
            functions=_count_functions(index, orchestrator),
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
    conditions = [_accepted(name, taken=observed.taken), decided]
    status = {
        "modelName": name,
        "policy": _text(spec.policy),
        "functions": observed.functions,
        "canary": {"state": canary.reason, "weight": spec.canary.weight} if canary and spec.canary else None,
    }
    return Plan(conditions=[*conditions, roll_up("Ready", *conditions)], status=status)


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


def _accepted(name: str, *, taken: bool) -> Condition:
    if taken:
        text = f"the ExpertModel {name!r} has the same model name; rename one"
        return Condition("Accepted", State.FALSE, "NameCollision", text)
    return Condition("Accepted", State.TRUE, "Accepted")


def _policy_ready(policy: PolicySpec, observed: PolicyObserved | None, role: str) -> Condition:
    """``role`` is ``policy`` or ``canary``: the field that is named, and the first half of the reason."""
    word, field = role.capitalize(), f"spec.{role}" if role == "policy" else "spec.canary.policy"
    if observed is None:
        return Condition(POLICY_READY, State.TRUE, "Baseline")
    what = _text(policy)
    if not observed.found:
        text = f"{field}.expertModelRef: {what} does not exist, or is not lent to this namespace (its allowedNamespaces)"
        return Condition(POLICY_READY, State.FALSE, f"{word}NotFound", text)
    ready = observed.ready
    if ready is None or ready.state is State.UNKNOWN:
        return Condition(POLICY_READY, State.UNKNOWN, f"{word}Unknown", f"{what} has not been looked at yet")
    if not ready.is_true:
        return Condition(POLICY_READY, State.FALSE, f"{word}NotReady", f"{what}: {ready.reason}: {ready.message}")
    return Condition(POLICY_READY, State.TRUE, f"{word}Ready")


def _text(policy: PolicySpec) -> str:
    ref = policy.expert_model_ref
    if ref is None:
        return str(policy.baseline)
    return f"ExpertModel/{ref.namespace}/{ref.name}" if ref.namespace else f"ExpertModel/{ref.name}"


def _count_functions(index: Index, orchestrator: Orchestrator) -> int:
    """How many functions its selector picks from its own namespace and from what is lent to it."""
    namespace, selector = orchestrator.metadata.namespace, orchestrator.spec.tools
    names = {name for name, owner in index.functions() if _usable(index, owner, namespace)}
    return sum(matches(name, selector.include) and not matches(name, selector.exclude) for name in names)


def _usable(index: Index, owner: Reference, namespace: str) -> bool:
    if owner.namespace == namespace:
        return True
    entry = index.get(owner)
    resource = entry.resource if entry else None
    return isinstance(resource, Tool | ExpertModel) and resource.spec.allowed_namespaces.allows(
        owner=owner.namespace, user=namespace
    )
