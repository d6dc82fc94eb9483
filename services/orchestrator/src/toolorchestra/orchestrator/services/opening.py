"""Opening a run: what it pins, what it may spend and how long, and its first transition."""

from random import Random
from secrets import token_hex

from toolorchestra.core.durations import parse_duration_ms
from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.core.loop.calls import usable
from toolorchestra.core.loop.facts import Limits, Opened, Reserve
from toolorchestra.core.money import NanoUsd
from toolorchestra.core.openai import ChatCompletionRequest
from toolorchestra.core.policies.closing import closing_quote, reserve_nano_usd
from toolorchestra.core.policies.factory import policy_name
from toolorchestra.core.preferences import cost_cap, time_cap_ms
from toolorchestra.core.registry import Registry
from toolorchestra.core.resources.meta import nano_usd
from toolorchestra.core.resources.orchestrator import OrchestratorSpec, PreferenceSpec
from toolorchestra.core.revision import Revision, find_orchestrator, pin, require_inside
from toolorchestra.kit.telemetry import inject
from toolorchestra.ledger.journal import Existing
from toolorchestra.orchestrator.services.budget import Budgets
from toolorchestra.orchestrator.services.entry import Entry, OpenedRun
from toolorchestra.orchestrator.services.principal import Principal

SEED_BITS = 31


class Opener:
    """Opens runs of Orchestrators."""

    def __init__(self, registry: Registry, budgets: Budgets, entry: Entry) -> None:
        self._registry = registry
        self._budgets = budgets
        self._entry = entry
        self._pinned: dict[tuple[int, str, str, tuple[str, ...], bool], Revision] = {}

    def pinned(self, caller: Principal, model: str, *, canary: bool = False) -> Revision:
        """What a run of ``model`` would see now; the same object until a resource changes."""
        catalog = self._registry.catalog()
        tenant = caller.tenant
        key = (catalog.version, tenant, model, caller.tools, canary)
        if key not in self._pinned:
            self._pinned = {k: v for k, v in self._pinned.items() if k[0] == catalog.version}
            budget = self._budgets.spec(tenant)
            self._pinned[key] = pin(catalog, tenant, model, budget, canary=canary, tools=caller.tools)
        return self._pinned[key]

    def opening(self, caller: Principal, wish: ChatCompletionRequest, revision: Revision) -> Opened:
        """The opening fact with its closing reserve. Raises ForbiddenError when a hard rule excludes the manager."""
        spec = revision.orchestrator or find_orchestrator(self._registry.catalog(), caller.tenant, wish.model).spec
        preference = wish.toolorchestra.preference or spec.default_preference
        require_inside(revision, preference)
        _require_supported(wish)
        seed = wish.seed if wish.seed is not None else int(token_hex(4), 16) >> (32 - SEED_BITS)
        opened = Opened(
            model=wish.model,
            policy=policy_name(revision),
            tenant=caller.tenant,
            key=caller.key,
            revision=revision.id,
            messages=tuple(wish.messages),
            client_tools=tuple(wish.tools),
            preference=preference,
            limits=self._limits(caller, wish, spec, preference),
            sampling=wish.sampling,
            seed=seed,
            explored=_explored(spec, revision, preference, seed),
            on_disconnect=wish.toolorchestra.on_disconnect or spec.on_disconnect,
            metadata=(wish.metadata or {}) | ({"user": wish.user} if wish.user else {}),
            traceparent=inject().get("traceparent"),
            session=wish.toolorchestra.session,
        )
        quote = closing_quote(revision.closing, opened)
        reserve = Reserve(nano_usd=reserve_nano_usd(quote), max_tokens=quote.max_output_tokens)
        return opened.model_copy(update={"reserve": reserve})

    async def open(
        self, caller: Principal, wish: ChatCompletionRequest, *, idempotency_key: str | None, body_hash: str
    ) -> OpenedRun | Existing:
        """Store the run, or find the one that has the idempotency key. Raises DeniedError when there is no money."""
        share = self._canary_share(caller.tenant, wish.model)
        revision = self.pinned(caller, wish.model, canary=_draw(body_hash) < share)
        opened = self.opening(caller, wish, revision)
        return await self._entry.open_once(revision, opened, idempotency_key=idempotency_key, body_hash=body_hash)

    def _canary_share(self, tenant: str, model: str) -> int:
        canary = find_orchestrator(self._registry.catalog(), tenant, model).spec.canary
        return canary.weight if canary else 0

    def _limits(
        self, caller: Principal, wish: ChatCompletionRequest, spec: OrchestratorSpec, preference: PreferenceSpec
    ) -> Limits:
        extension = wish.toolorchestra
        timeout = parse_duration_ms(spec.limits.timeout)
        if extension.timeout_seconds is not None:
            timeout = min(timeout, int(extension.timeout_seconds * 1000))
        cap = self._cap(caller, preference, nano_usd(spec.limits.max_cost), nano_usd(extension.max_cost_usd))
        output = spec.limits.max_output_tokens
        return Limits(
            max_turns=min(spec.limits.max_turns, extension.max_turns or spec.limits.max_turns),
            max_output_tokens=min(output, wish.output_limit or output),
            timeout_ms=time_cap_ms(preference, timeout),
            max_total_tokens=spec.limits.max_total_tokens,
            max_cost_nano_usd=cap,
        )

    def _cap(self, caller: Principal, preference: PreferenceSpec, *caps: NanoUsd | None) -> NanoUsd | None:
        return cost_cap(preference, nano_usd(self._budgets.spec(caller.tenant).per_run), *caps)


def _require_supported(wish: ChatCompletionRequest) -> None:
    """What an Orchestrator cannot honour is refused by name: its manager chooses the calls."""
    if wish.tool_choice not in (None, "auto"):
        raise InvalidRequestError("tool_choice is not supported by an Orchestrator", param="tool_choice", hint='send "auto"')
    if wish.parallel_tool_calls is False:
        raise InvalidRequestError(
            "parallel_tool_calls=false is not supported by an Orchestrator", param="parallel_tool_calls", hint="leave it out"
        )


def _explored(spec: OrchestratorSpec, revision: Revision, preference: PreferenceSpec, seed: int) -> str | None:
    """For a small, declared share of runs the first tool is drawn uniformly, within the hard rules."""
    draw = Random(seed)
    names = [f.name for f in usable(revision, preference)]
    return draw.choice(names) if names and draw.random() < spec.explore else None


def _draw(text: str) -> int:
    """A sticky percentage, 0 to 99: the same request lands on the same side of a canary."""
    return int(text[:8], 16) % 100
