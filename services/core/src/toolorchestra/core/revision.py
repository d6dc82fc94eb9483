"""A run's revision: the functions, prices and policy it sees, pinned when it opens.

Later additions are unseen; revocations bite at the next hold. A revision is stored once per content hash, so that any worker
can execute a call from the database alone.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypeVar, cast
from urllib.parse import urlsplit

from toolorchestra.core.durations import parse_duration_ms
from toolorchestra.core.errors import ForbiddenError, ModelNotFoundError, UnavailableError, UnpricedError
from toolorchestra.core.functions import FUNCTION_NAME_PATTERN, ExpertTarget, Frozen, Function, ToolTarget
from toolorchestra.core.money import parse_usd
from toolorchestra.core.preferences import matches
from toolorchestra.core.pricing import Price, known_price
from toolorchestra.core.registry import Catalog, DiscoveredOperation, Key, Observation, Problem
from toolorchestra.core.resources import BudgetPolicySpec, ExpertModel, Orchestrator, Tool, ToolSpec
from toolorchestra.core.resources.expert import ModelPricing, Offer
from toolorchestra.core.resources.meta import nano_usd
from toolorchestra.core.resources.orchestrator import OrchestratorSpec, PolicySpec, PreferenceSpec
from toolorchestra.core.schemas import schema_problem

R = TypeVar("R", Tool, ExpertModel)
_FUNCTION_NAME: Final = re.compile(FUNCTION_NAME_PATTERN.removeprefix("^").removesuffix("$"))

EXPERT_PARAMETERS: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "question": {"type": "string", "description": "The whole question, with everything the expert must know."},
        "context": {"type": "string", "description": "Facts found so far that the answer should rest on."},
    },
    "required": ["question"],
    "additionalProperties": False,
}

# What was observed informs and does not gate, except where every call is certain to fail: a manager should not pay to find out.
CERTAIN_TO_FAIL: Final = frozenset(
    {"SecretMissing", "InvalidSpec", "StdioNotAllowed", "NotInstalled", "NoBackend", "SecretsInSandbox"}
)


class PinnedModel(Frozen):
    """A model with its price at the time of pinning. ``offered_as`` names the function it is, if it is one."""

    target: ExpertTarget
    price: Price
    max_output_tokens: int
    context_tokens: int
    inside: bool = False  # nothing leaves the cluster (or the laptop)
    offered_as: str | None = None


class Revision(Frozen):
    """Everything that a run may use. ``id`` is the hash of the rest."""

    id: str
    tenant: str
    model: str
    orchestrator: OrchestratorSpec | None
    policy: PolicySpec | None
    manager: PinnedModel | None  # the model that decides
    closing: PinnedModel | None  # the model that pays for the closing answer
    functions: tuple[Function, ...]

    def function(self, name: str) -> Function | None:
        return next((f for f in self.functions if f.name == name), None)


def price_of(expert: ExpertModel, *, unpriced: Literal["refuse", "allow"] = "refuse") -> Price:
    """The expert's price: its own, else the public list price. Raises UnpricedError where the policy refuses."""
    pricing = expert.spec.pricing
    if pricing is not None:
        return _price(pricing)
    known = known_price(expert.spec.model)
    if known is None and unpriced == "refuse":
        raise UnpricedError(
            f"the price of {expert.metadata.name!r} (model {expert.spec.model!r}) is unknown",
            param="spec.pricing",
            hint='set spec.pricing.input and spec.pricing.output, "0" if it is free',
        )
    return known or Price()


def functions_for(catalog: Catalog, tenant: str, budget: BudgetPolicySpec) -> tuple[tuple[Function, ...], tuple[Problem, ...]]:
    """All functions that the tenant may call, own ones first, and what is wrong with the others."""
    problems: list[Problem] = []
    found: dict[str, Function] = {}
    for function in _candidates(catalog, tenant, budget, problems):
        first = found.setdefault(function.name, function)
        if first is not function:
            problems.append(
                Problem(_source(function.target), f"{_source(first.target)} has the function {function.name!r} too; rename one")
            )
    return tuple(found.values()), tuple(problems)


def pin(
    catalog: Catalog,
    tenant: str,
    model: str,
    budget: BudgetPolicySpec,
    *,
    canary: bool = False,
    tools: Sequence[str] = ("*",),
) -> Revision:
    """Pin what a run of ``model`` may use; ``tools`` are the patterns that its key is scoped to.

    Raises ModelNotFoundError, UnavailableError or UnpricedError.
    """
    orchestrator = find_orchestrator(catalog, tenant, model)
    spec = orchestrator.spec
    policy = spec.canary.policy if canary and spec.canary else spec.policy
    functions, _ = functions_for(catalog, tenant, budget)
    selector = spec.tools
    chosen = tuple(
        f
        for f in functions
        if matches(f.name, tools) and matches(f.name, selector.include) and not matches(f.name, selector.exclude)
    )
    manager = _manager(catalog, orchestrator, policy, budget)
    return with_id(
        Revision(
            id="", tenant=tenant, model=model, orchestrator=spec, policy=policy,
            manager=manager, closing=manager or _cheapest(chosen), functions=chosen,
        )
    )  # fmt: skip


def pin_expert(catalog: Catalog, tenant: str, model: str, budget: BudgetPolicySpec) -> Revision:
    """Pin a metered pass-through of one model."""
    expert = find_expert(catalog, tenant, model)
    pinned = pin_model(catalog, expert, budget)
    return with_id(
        Revision(
            id="", tenant=tenant, model=model, orchestrator=None, policy=None,
            manager=pinned, closing=None, functions=(),
        )
    )  # fmt: skip


def find_orchestrator(catalog: Catalog, tenant: str, model: str) -> Orchestrator:
    """The tenant's Orchestrator of that name."""
    found = catalog.orchestrators.get((tenant, model))
    if found is None:
        raise ModelNotFoundError(f"the model {model!r} does not exist", param="model", hint="see GET /v1/models")
    return found


def find_expert(catalog: Catalog, tenant: str, model: str) -> ExpertModel:
    """An ExpertModel by ``name``, or ``namespace/name`` if it is lent."""
    namespace, _, name = model.rpartition("/")
    expert = catalog.experts.get((namespace or tenant, name))
    if expert is None or not expert.spec.allowed_namespaces.allows(owner=expert.metadata.namespace, user=tenant):
        raise ModelNotFoundError(f"the model {model!r} does not exist", param="model", hint="see GET /v1/models")
    return expert


def pin_model(catalog: Catalog, expert: ExpertModel, budget: BudgetPolicySpec) -> PinnedModel:
    """A model with where it is served and what it costs now."""
    key = (expert.metadata.namespace, expert.metadata.name)
    seen = catalog.observed.get(("ExpertModel", *key))
    if seen is not None and seen.reason in CERTAIN_TO_FAIL:
        raise UnavailableError(f"the model {expert.metadata.name!r} cannot be called: {seen.message}", param="model")
    base_url = serving_url(expert, seen)
    if base_url is None:
        raise UnavailableError(f"the model {expert.metadata.name!r} is not served yet", hint="see its status")
    target = ExpertTarget(namespace=key[0], name=key[1], spec=expert.spec, base_url=base_url)
    return PinnedModel(
        target=target,
        price=price_of(expert, unpriced=budget.unpriced),
        max_output_tokens=expert.spec.max_output_tokens,
        context_tokens=expert.spec.context_tokens,
        inside=_inside(expert.spec.location, base_url),
    )


def require_inside(revision: Revision, preference: PreferenceSpec) -> None:
    """Refuse a run whose data must stay inside while its manager is outside. Raises ForbiddenError."""
    manager = revision.manager
    if preference.inside_only and manager is not None and not manager.inside:
        raise ForbiddenError(
            f"data must stay inside, and the manager {manager.target.name!r} is outside",
            param="preference.insideOnly",
            hint="choose a model whose manager is inside, or drop the rule",
        )


def serving_url(expert: ExpertModel, seen: Observation | None) -> str | None:
    """Where the model answers: what a probe found, else the endpoint as written."""
    if seen is not None and seen.base_url is not None:
        return seen.base_url
    return expert.spec.endpoint.base_url if expert.spec.endpoint else None


def with_id(revision: Revision) -> Revision:
    """The revision under the hash of its content."""
    body = revision.model_dump_json(exclude={"id"})
    return revision.model_copy(update={"id": hashlib.sha256(body.encode()).hexdigest()[:32]})


def _manager(catalog: Catalog, orchestrator: Orchestrator, policy: PolicySpec, budget: BudgetPolicySpec) -> PinnedModel | None:
    ref = policy.expert_model_ref
    if ref is None:
        return None
    tenant = orchestrator.metadata.namespace
    try:
        expert = find_expert(catalog, tenant, f"{ref.namespace or tenant}/{ref.name}")
    except ModelNotFoundError as error:
        what = f"the ExpertModel {ref.namespace or tenant}/{ref.name}, which decides for {orchestrator.metadata.name!r},"
        raise UnavailableError(
            f"{what} does not exist, or is not lent to {tenant!r} (any more)",
            param="model",
            hint="correct the Orchestrator's expertModelRef, or ask its owner for allowedNamespaces",
        ) from error
    return pin_model(catalog, expert, budget)


def _cheapest(functions: Sequence[Function]) -> PinnedModel | None:
    experts = [f for f in functions if isinstance(f.target, ExpertTarget)]
    if not experts:
        return None
    best = min(experts, key=lambda f: (f.price.output + f.price.input, f.name))
    return PinnedModel(
        target=cast("ExpertTarget", best.target),
        price=best.price,
        max_output_tokens=best.max_output_tokens,
        context_tokens=best.context_tokens,
        inside=best.inside,
        offered_as=best.name,
    )


def _candidates(catalog: Catalog, tenant: str, budget: BudgetPolicySpec, problems: list[Problem]) -> Iterable[Function]:
    for key, tool in _visible(catalog.tools, tenant):
        if matches(key[1], budget.allowed_tools):
            yield from _tool_functions(tool, catalog.observed.get(("Tool", *key)), problems)
    for key, expert in _visible(catalog.experts, tenant):
        if not matches(key[1], budget.allowed_experts):
            continue
        try:
            yield from _expert_functions(catalog, expert, budget)
        except (UnpricedError, UnavailableError) as error:
            problems.append(Problem(f"ExpertModel {key[0]}/{key[1]}", str(error)))


def _visible(resources: Mapping[Key, R], tenant: str) -> list[tuple[Key, R]]:
    mine = [(key, r) for key, r in resources.items() if key[0] == tenant]
    lent = [
        (key, r)
        for key, r in resources.items()
        if key[0] != tenant and r.spec.allowed_namespaces.allows(owner=key[0], user=tenant)
    ]
    return sorted(mine, key=lambda item: item[0]) + sorted(lent, key=lambda item: item[0])


def _tool_functions(tool: Tool, seen: Observation | None, problems: list[Problem]) -> Iterable[Function]:
    spec, source = tool.spec, f"Tool {tool.metadata.namespace}/{tool.metadata.name}"
    discovered = spec.openapi is not None or spec.mcp is not None
    if seen is not None and not seen.ready and seen.reason in CERTAIN_TO_FAIL:
        problems.append(Problem(source, f"it is not ready: {seen.message or seen.reason}"))
    elif not discovered:
        yield _tool_function(tool, tool.metadata.name, spec.description, spec.parameters, None)
    elif seen is None or not seen.operations:
        reason = "they are not discovered yet" if seen is None else seen.message or seen.reason
        problems.append(Problem(source, f"it has no operations: {reason}"))
    else:
        yield from _operations(tool, seen, source, problems)


def _operations(tool: Tool, seen: Observation, source: str, problems: list[Problem]) -> Iterable[Function]:
    for operation in seen.operations:
        name = f"{tool.metadata.name}__{operation.name}"
        if _FUNCTION_NAME.fullmatch(name) is None:
            problems.append(Problem(source, f"{name!r} cannot be the name of a function: 64 of A-Z a-z 0-9 _ - at most"))
            continue
        problem = schema_problem(operation.parameters)
        if problem is not None:
            problems.append(Problem(source, f"the schema of {operation.name!r} is broken: {problem}"))
            continue
        yield _tool_function(tool, name, operation.description or tool.spec.description, operation.parameters, operation)


def _tool_function(
    tool: Tool, name: str, description: str, parameters: Mapping[str, Any], operation: DiscoveredOperation | None
) -> Function:
    spec = tool.spec
    return Function(
        name=name,
        description=description,
        parameters=dict(parameters),
        target=ToolTarget(
            namespace=tool.metadata.namespace,
            name=tool.metadata.name,
            spec=spec,
            operation=operation.name if operation else None,
            details=dict(operation.details) if operation else {},
        ),
        side_effects=spec.side_effects,
        execution=spec.execution,
        price=Price(per_call=parse_usd(spec.pricing.per_call), per_second=parse_usd(spec.pricing.per_second)),
        timeout_ms=parse_duration_ms(spec.timeout),
        retries=spec.retries,
        typical_latency_ms=_latency(spec.typical_latency),
        capabilities=tuple(spec.capabilities),
        inside=_inside(spec.location, _tool_url(spec)),
    )


def _expert_functions(catalog: Catalog, expert: ExpertModel, budget: BudgetPolicySpec) -> Iterable[Function]:
    pinned = pin_model(catalog, expert, budget)
    single = len(expert.spec.offers) == 1
    for offer in expert.spec.offers:
        name = expert.metadata.name if single else f"{expert.metadata.name}__{offer.name}"
        yield _expert_function(expert, pinned, offer, name)


def _expert_function(expert: ExpertModel, pinned: PinnedModel, offer: Offer, name: str) -> Function:
    spec = expert.spec
    description = offer.description or spec.description
    return Function(
        name=name,
        description=f"[simulated] {description}" if spec.simulated else description,
        parameters=EXPERT_PARAMETERS,
        target=pinned.target.model_copy(update={"offer": offer.name}),
        side_effects="readOnly",
        execution="inline",
        price=pinned.price,
        timeout_ms=parse_duration_ms(spec.timeout),
        typical_latency_ms=_latency(spec.typical_latency),
        capabilities=tuple(offer.capabilities or spec.capabilities),
        simulated=spec.simulated,
        max_output_tokens=offer.max_output_tokens or spec.max_output_tokens,
        context_tokens=spec.context_tokens,
        strength=spec.strength,
        inside=pinned.inside,
    )


def _source(target: ToolTarget | ExpertTarget) -> str:
    kind = "Tool" if target.kind == "tool" else "ExpertModel"
    return f"{kind} {target.namespace}/{target.name}"


def _price(pricing: ModelPricing) -> Price:
    return Price(
        input=parse_usd(pricing.input),
        output=parse_usd(pricing.output),
        cached=nano_usd(pricing.cached_input),
        per_second=parse_usd(pricing.per_second),
    )


def _latency(text: str | None) -> int | None:
    return None if text is None else parse_duration_ms(text)


def _tool_url(spec: ToolSpec) -> str | None:
    if spec.http is not None:
        return spec.http.url
    if spec.openapi is not None:
        return spec.openapi.base_url or spec.openapi.url
    return spec.mcp.url if spec.mcp is not None else None


def _inside(location: str | None, url: str | None) -> bool:
    """Whether data stays inside: as declared, else by the address; no address means it runs here."""
    if location is not None:
        return location == "inside"
    host = urlsplit(url).hostname if url else "localhost"
    return host in ("localhost", "127.0.0.1", "::1") or bool(host and host.endswith((".svc", ".cluster.local")))
