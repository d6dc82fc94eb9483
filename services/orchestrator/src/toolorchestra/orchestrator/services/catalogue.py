"""What there is to use: models with prices and limits, tools with their state, manifests with problems."""

from hashlib import sha256
from typing import Any

from pydantic import BaseModel

from toolorchestra.core.errors import ModelNotFoundError, ToolOrchestraError
from toolorchestra.core.functions import Function
from toolorchestra.core.money import format_usd
from toolorchestra.core.pricing import Price
from toolorchestra.core.registry import Catalog, Observation, Registry
from toolorchestra.core.resources import ExpertModel, Orchestrator
from toolorchestra.core.revision import functions_for, price_of
from toolorchestra.orchestrator.services.budget import Budgets
from toolorchestra.orchestrator.services.principal import Principal


class Catalogue:
    """Read-only views of the registry for one caller."""

    def __init__(self, registry: Registry, budgets: Budgets) -> None:
        self._registry = registry
        self._budgets = budgets

    def models(self, caller: Principal) -> dict[str, Any]:
        """The OpenAI list of models, with prices and limits as extensions."""
        return {"object": "list", "data": [m for m in self._models(caller) if caller.may_use(m["id"])]}

    def model(self, caller: Principal, name: str) -> dict[str, Any]:
        """One model. Raises ModelNotFoundError."""
        for model in self._models(caller):
            if model["id"] == name and caller.may_use(name):
                return model
        raise ModelNotFoundError(f"the model {name!r} does not exist", param="model", hint="see GET /v1/models")

    def tools(self, caller: Principal) -> dict[str, Any]:
        """Every Tool and ExpertModel of the tenant with its functions and state, and what is wrong."""
        catalog = self._registry.catalog()
        functions, problems = functions_for(catalog, caller.tenant, self._budgets.spec(caller.tenant))
        named = [_tool(f, catalog) for f in functions]
        missing = _unready(catalog, caller.tenant, {(f["kind"], f["resource"]) for f in named})
        found = [*(p for p in catalog.problems if p.namespace in (None, caller.tenant)), *problems]
        return {
            "object": "list",
            "data": [*named, *missing],
            "problems": [{"source": p.source, "message": p.message} for p in found],
        }

    def _models(self, caller: Principal) -> list[dict[str, Any]]:
        catalog = self._registry.catalog()
        mine = [_orchestrator(o) for key, o in catalog.orchestrators.items() if key[0] == caller.tenant]
        experts = [
            _expert(e, caller.tenant)
            for key, e in catalog.experts.items()
            if e.spec.allowed_namespaces.allows(owner=key[0], user=caller.tenant)
        ]
        return sorted(mine + experts, key=lambda m: str(m["id"]))


def _orchestrator(orchestrator: Orchestrator) -> dict[str, Any]:
    spec = orchestrator.spec
    ref = spec.policy.expert_model_ref
    return {
        "id": orchestrator.metadata.name,
        "object": "model",
        "created": 0,
        "owned_by": orchestrator.metadata.namespace,
        "toolorchestra": {
            "kind": "Orchestrator",
            "description": spec.description,
            "policy": f"baseline:{spec.policy.baseline}" if ref is None else f"expert:{ref.name}",
            "is_baseline": spec.policy.baseline is not None,
            "digest": _digest(spec),
            "limits": spec.limits.model_dump(by_alias=True, exclude_none=True),
        },
    }


def _expert(expert: ExpertModel, tenant: str) -> dict[str, Any]:
    owner, name = expert.metadata.namespace, expert.metadata.name
    try:
        price: dict[str, str] | None = _price(price_of(expert))
    except ToolOrchestraError:
        price = None
    return {
        "id": name if owner == tenant else f"{owner}/{name}",
        "object": "model",
        "created": 0,
        "owned_by": owner,
        "toolorchestra": {
            "kind": "ExpertModel",
            "description": expert.spec.description,
            "simulated": expert.spec.simulated,
            "digest": _digest(expert.spec),
            "price_usd_per_million_tokens": price,
            "limits": {"contextTokens": expert.spec.context_tokens, "maxOutputTokens": expert.spec.max_output_tokens},
        },
    }


def _digest(spec: BaseModel) -> str:
    """128 bits over a manifest: who compares two answers of a model sees whether it is still the same."""
    return sha256(spec.model_dump_json().encode()).hexdigest()[:32]


def _price(price: Price) -> dict[str, str]:
    return {"input": format_usd(price.input), "output": format_usd(price.output)}


def _tool(function: Function, catalog: Catalog) -> dict[str, Any]:
    target = function.target
    kind = "Tool" if target.kind == "tool" else "ExpertModel"
    seen = catalog.observed.get((kind, target.namespace, target.name))
    return {
        "name": function.name,
        "kind": kind,
        "resource": target.name,
        "description": function.description,
        "execution": function.execution,
        "side_effects": function.side_effects,
        "parameters": function.parameters,
        "price": _function_price(function),
        "simulated": function.simulated,
        **_state(seen),
    }


def _function_price(function: Function) -> dict[str, str]:
    price = function.price
    if function.is_expert:
        return {f"{name}_per_million_tokens": value for name, value in _price(price).items()}
    return {"per_call": format_usd(price.per_call), "per_second": format_usd(price.per_second)}


def _state(seen: Observation | None) -> dict[str, Any]:
    if seen is None:
        return {"ready": None, "reason": "NotProbed", "message": "", "details": {}}
    return {"ready": seen.ready, "reason": seen.reason, "message": seen.message, "details": dict(seen.details)}


def _unready(catalog: Catalog, tenant: str, named: set[tuple[str, str]]) -> list[dict[str, Any]]:
    """Resources that give no function now: shown too, with the reason."""
    resources = [("Tool", key, t.spec.description) for key, t in catalog.tools.items()]
    resources += [("ExpertModel", key, e.spec.description) for key, e in catalog.experts.items()]
    return [
        {"name": key[1], "kind": kind, "resource": key[1], "description": text, **_state(catalog.observed.get((kind, *key)))}
        for kind, key, text in resources
        if key[0] == tenant and (kind, key[1]) not in named
    ]
