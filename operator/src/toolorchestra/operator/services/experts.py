"""ExpertModel: builds its InferenceService or reads the one it names, and says whether the model can be called.

KServe's own word is not enough: a model is Ready only after our own probe of it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, Final

from toolorchestra.core.errors import UnpricedError
from toolorchestra.core.money import format_usd
from toolorchestra.core.registry import Observation
from toolorchestra.core.resources import ExpertModel, SecretKeyRef
from toolorchestra.core.resources.expert import KServe
from toolorchestra.core.revision import price_of
from toolorchestra.executors.probe import Prober, base_urls
from toolorchestra.kit.kubernetes import PODS, KubernetesApi, KubernetesObject, ResourceType
from toolorchestra.operator.builders.inferenceservice import INFERENCE_SERVICES, inference_service, replicas
from toolorchestra.operator.plan import Condition, Owned, Plan, State, roll_up
from toolorchestra.operator.services.collisions import collision, hidden
from toolorchestra.operator.services.index import Index, function_names
from toolorchestra.operator.services.kinds import TYPES, Kind, Reference, Seen
from toolorchestra.operator.services.objects import covers, owned_by
from toolorchestra.operator.services.pods import is_ready
from toolorchestra.operator.services.secrets import SecretCheck
from toolorchestra.operator.services.serving import INSTALL, LENT_TO, address, lent_to, opening, served
from toolorchestra.operator.services.status import timestamp

DEPLOYMENTS: Final = ResourceType("apps", "v1", "deployments", "Deployment")
POD_LABEL: Final = "serving.kserve.io/inferenceservice"
STARTING_MS: Final = 5_000
ABSENT_MS: Final = 30_000
MAX_MODELS: Final = 64
MAX_WORD: Final = 253
_METRICS: Final = ("cpu", "memory")
# KServe labels pods `isvc.NAME-predictor`, and a label's value has at most 63 characters.
_SERVABLE_NAME: Final = re.compile(r"[a-z][-a-z0-9]{0,47}")


@dataclass(frozen=True, slots=True)
class ExpertObserved:
    """What the world says about an ExpertModel. ``service`` is the InferenceService of its spec, ``leftover`` one of an
    earlier spec; ``probe`` is None unless the model was asked.
    """

    uid: str
    now: datetime
    stored: Mapping[str, Any] = field(default_factory=dict)
    collision: str | None = None
    hidden: str | None = None
    secrets: Condition | None = None
    kserve_installed: bool = True
    service: KubernetesObject | None = None
    leftover: KubernetesObject | None = None
    pods: Sequence[KubernetesObject] = ()
    deployment: KubernetesObject | None = None
    probe: Observation | None = None


def expert_kind(
    api: KubernetesApi, prober: Prober, secrets: SecretCheck, index: Index, *, probe_interval_ms: int
) -> Kind[ExpertModel, ExpertObserved]:
    """How ExpertModels are reconciled."""
    return Kind(
        of=TYPES["ExpertModel"],
        model=ExpertModel,
        conditions=("Accepted", "SecretsReadable", "Served", "Reachable"),
        headline="Ready",
        gather=_Gathering(api, prober, secrets, index).gather,
        reconcile=partial(reconcile, probe_interval_ms=probe_interval_ms),
        uses=_uses,
        children=(INFERENCE_SERVICES,),
    )


class _Gathering:
    """Reads what ``reconcile`` needs to know, and asks the model."""

    def __init__(self, api: KubernetesApi, prober: Prober, secrets: SecretCheck, index: Index) -> None:
        self._api = api
        self._prober = prober
        self._secrets = secrets
        self._index = index

    async def gather(self, expert: ExpertModel, seen: Seen) -> ExpertObserved:
        observed = ExpertObserved(
            uid=seen.uid,
            now=seen.now,
            stored=seen.status,
            collision=collision(self._index, expert),
            hidden=hidden(self._index, expert),
            secrets=await self._secrets.check(expert.metadata.namespace, secret_refs(expert)),
        )
        observed = await self._with_service(expert, observed)
        probe = await self._probe(expert, observed) if _can_be_asked(expert, observed) else None
        return replace(observed, probe=probe)

    async def _with_service(self, expert: ExpertModel, observed: ExpertObserved) -> ExpertObserved:
        meta, spec = expert.metadata, expert.spec
        own = await self._api.get(INFERENCE_SERVICES, meta.name, namespace=meta.namespace)
        leftover = own if own and spec.kserve is None and owned_by(own, observed.uid) else None
        if spec.endpoint is not None:
            return replace(observed, leftover=leftover)
        ref = spec.inference_service_ref
        service = (
            own if ref is None else await self._api.get(INFERENCE_SERVICES, ref.name, namespace=ref.namespace or meta.namespace)
        )
        if service is None:
            return replace(observed, leftover=leftover, kserve_installed=await self._api.has(INFERENCE_SERVICES))
        return await self._with_pods(replace(observed, leftover=leftover, service=service), service)

    async def _with_pods(self, observed: ExpertObserved, service: KubernetesObject) -> ExpertObserved:
        name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
        pods = (await self._api.list(PODS, namespace=namespace, labels={POD_LABEL: name})).items
        needed = not pods and not served(service).is_true
        deployment = await self._api.get(DEPLOYMENTS, f"{name}-predictor", namespace=namespace) if needed else None
        return replace(observed, pods=pods, deployment=deployment)

    async def _probe(self, expert: ExpertModel, observed: ExpertObserved) -> Observation:
        if observed.service is None:
            return await self._prober.probe_expert(expert)
        entry = opening(observed.service)
        url = address(observed.service)
        return await self._prober.probe_expert(expert, base_url=url, allow=[entry] if entry else [])


def reconcile(expert: ExpertModel, observed: ExpertObserved, *, probe_interval_ms: int) -> Plan:
    """What to make, what to remove, and what to say of an ExpertModel."""
    accepted, serving = accepted_of(expert, observed), serving_of(expert, observed)
    reachable = _reachable(observed, serving)
    parts = [one for one in (accepted, observed.secrets, serving, reachable) if one is not None]
    return Plan(
        conditions=[*parts, roll_up("Ready", *parts)],
        status=_status(expert, observed),
        apply=_wanted(expert, observed) if accepted.is_true else (),
        delete=[Owned(INFERENCE_SERVICES, observed.leftover)] if observed.leftover else (),
        again_ms=_again_ms(serving, reachable, probe_interval_ms),
    )


def accepted_of(expert: ExpertModel, observed: ExpertObserved) -> Condition:
    """The condition Accepted; what is served otherwise than written is told in its message."""
    kserve, name = expert.spec.kserve, expert.metadata.name
    if observed.collision:
        return Condition("Accepted", State.FALSE, "NameCollision", observed.collision)
    if kserve and not _SERVABLE_NAME.fullmatch(name):
        text = "metadata.name: KServe takes names of at most 48 characters that start with a letter; choose another"
        return Condition("Accepted", State.FALSE, "NameNotServable", text)
    if kserve and kserve.scale_metric not in (None, *_METRICS):
        text = f"spec.kserve.scaleMetric: KServe's Standard mode scales by {' or '.join(_METRICS)} only"
        return Condition("Accepted", State.FALSE, "ScaleMetricNotServable", text)
    notes = [*_notes(expert, observed), *(_unused(kserve) if kserve else ())]
    return Condition("Accepted", State.TRUE, notes[0][0] if notes else "Accepted", "; ".join(text for _, text in notes))


def _notes(expert: ExpertModel, observed: ExpertObserved) -> Iterator[tuple[str, str]]:
    """What is accepted and may still surprise: reason and text."""
    if price_text(expert) is None:
        text = f"the price of {expert.spec.model!r} is unknown: calls are refused unless the BudgetPolicy has `unpriced: allow`"
        yield "PriceUnknown", f"{text}; set spec.pricing"
    if expert.spec.max_output_tokens >= expert.spec.context_tokens:
        text = "spec.maxOutputTokens leaves no room for a question in spec.contextTokens; lower it, or raise spec.contextTokens"
        yield "LimitsTooHigh", text
    if observed.hidden:
        yield "HidesLent", observed.hidden


def _unused(kserve: KServe) -> Iterator[tuple[str, str]]:
    """Fields that are served otherwise than written, or not at all."""
    if kserve.min_replicas == 0:
        yield "MinReplicasRaised", "spec.kserve.minReplicas: 0 is served as 1, KServe's Standard mode does not scale to zero"
    if kserve.scale_metric and len(set(replicas(kserve))) == 1:
        text = "spec.kserve.scaleMetric has no effect: nothing scales; raise spec.kserve.maxReplicas, or remove it"
        yield "ScaleMetricUnused", text
    if kserve.image is None and kserve.port != KServe.model_fields["port"].default:
        text = "spec.kserve.port has no effect: the runtime has its own port; remove it, or set spec.kserve.image"
        yield "PortUnused", text
    if kserve.image is not None and kserve.model_format != KServe.model_fields["model_format"].default:
        text = "spec.kserve.modelFormat has no effect with spec.kserve.image; remove it"
        yield "ModelFormatUnused", text


def serving_of(expert: ExpertModel, observed: ExpertObserved) -> Condition:
    """The condition Served: whether something runs the model."""
    spec, service = expert.spec, observed.service
    if spec.endpoint is not None:
        return Condition("Served", State.TRUE, "Endpoint")
    if not observed.kserve_installed:
        return Condition("Served", State.FALSE, "KServeNotInstalled", INSTALL)
    if spec.inference_service_ref is not None:
        return _borrowed(expert, observed)
    if service is None:
        return Condition("Served", State.UNKNOWN, "Creating", "the InferenceService is being made")
    if not owned_by(service, observed.uid):
        text = (
            f"there is an InferenceService {expert.metadata.name!r} that is not this ExpertModel's; rename this one, delete "
            "that one, or use it with spec.inferenceServiceRef"
        )
        return Condition("Served", State.FALSE, "NameTaken", text)
    return served(service, pods=observed.pods, deployment=observed.deployment)


def price_text(expert: ExpertModel) -> str | None:
    """The price for people, in US dollars; None if it is unknown."""
    try:
        price = price_of(expert)
    except UnpricedError:
        return None
    tokens = f"{format_usd(price.input)}/{format_usd(price.output)} per 1M"
    return f"{tokens}, {format_usd(price.per_second)} per s" if price.per_second else tokens


def secret_refs(expert: ExpertModel) -> dict[str, SecretKeyRef]:
    """The Secrets that the platform reads to call it, by path; those of ``kserve.env`` are read by the kubelet."""
    ref = expert.spec.endpoint.api_key_secret_ref if expert.spec.endpoint else None
    return {"spec.endpoint.apiKeySecretRef": ref} if ref else {}


def _uses(expert: ExpertModel) -> Sequence[Reference]:
    ref = expert.spec.inference_service_ref
    return [Reference("InferenceService", ref.namespace or expert.metadata.namespace, ref.name)] if ref else []


def _borrowed(expert: ExpertModel, observed: ExpertObserved) -> Condition:
    ref, own, service = expert.spec.inference_service_ref, expert.metadata.namespace, observed.service
    namespace = (ref.namespace if ref else None) or own
    name = f"{namespace}/{ref.name if ref else ''}"
    # Of another namespace it is not told whether the object exists.
    if namespace != own and (service is None or not lent_to(service, own)):
        what = f"spec.inferenceServiceRef: InferenceService {name} is not lent to {own}"
        text = f"{what}: its owner lends it with the annotation {LENT_TO}: {own}"
        return Condition("Served", State.FALSE, "NotLent", text)
    if service is None:
        text = f"InferenceService {name} does not exist: create it, or correct spec.inferenceServiceRef"
        return Condition("Served", State.FALSE, "InferenceServiceNotFound", text)
    return served(service, pods=observed.pods, deployment=observed.deployment, at="spec.predictor of the InferenceService")


def _can_be_asked(expert: ExpertModel, observed: ExpertObserved) -> bool:
    readable = observed.secrets is None or observed.secrets.is_true
    return readable and serving_of(expert, observed).is_true


def _reachable(observed: ExpertObserved, serving: Condition) -> Condition:
    """The condition Reachable, from our own probe. A server that lists other models may still know this one."""
    probe = observed.probe
    if observed.secrets is not None and not observed.secrets.is_true:
        return Condition("Reachable", State.UNKNOWN, "SecretsNotReadable", "not asked without its key")
    if probe is None:
        reason, message = ("NotProbed", "") if serving.is_true else ("NotServed", "not asked before it is served")
        return Condition("Reachable", State.UNKNOWN, reason, message)
    if not probe.ready:
        return Condition("Reachable", State.FALSE, probe.reason, probe.message)
    if not probe.details.get("modelListed", True):
        return Condition("Reachable", State.TRUE, "ModelNotListed", probe.message)
    return Condition("Reachable", State.TRUE, "LimitsTooHigh" if probe.message else "Reachable", probe.message)


def _wanted(expert: ExpertModel, observed: ExpertObserved) -> Sequence[Owned]:
    """The InferenceService, unless it is as it should be or somebody else's."""
    service = observed.service
    if expert.spec.kserve is None or not observed.kserve_installed:
        return ()
    if service is not None and not owned_by(service, observed.uid):
        return ()
    body = inference_service(expert)
    return () if service is not None and covers(service, body) else [Owned(INFERENCE_SERVICES, body)]


def _status(expert: ExpertModel, observed: ExpertObserved) -> dict[str, Any]:
    status: dict[str, Any] = {"functions": sorted(function_names(expert, {})), "price": price_text(expert) or "unknown"}
    service = observed.service
    if service is not None:
        status["inferenceService"] = service["metadata"]["name"]
        status["replicas"] = len(observed.pods)
        status["readyReplicas"] = sum(map(is_ready, observed.pods))
        if mode := (service.get("status") or {}).get("deploymentMode"):
            status["deploymentMode"] = str(mode)
    return status | _answers(expert, observed)


def _answers(expert: ExpertModel, observed: ExpertObserved) -> dict[str, Any]:
    """Where it was found. A probe that failed once does not take a known URL away: the data plane may still get through."""
    probe = observed.probe
    if probe is not None and probe.ready and probe.base_url:
        names = [str(name)[:MAX_WORD] for name in probe.details.get("models", [])]
        found = {"url": probe.base_url, "models": names[:MAX_MODELS], "latencyMs": probe.details.get("latencyMs", 0)}
        return found | {"probedAt": timestamp(observed.now)}
    endpoint = expert.spec.endpoint
    root = endpoint.base_url if endpoint else (address(observed.service) if observed.service else None)
    known = observed.stored.get("url")
    return {"url": known} if root and known in base_urls(root) else {}


def _again_ms(serving: Condition, reachable: Condition, probe_interval_ms: int) -> int:
    """Soon while it starts: a Service may answer a moment later than KServe says."""
    if serving.reason in ("Endpoint", "NameTaken", "NotLent", "InferenceServiceNotFound") or reachable.is_true:
        return probe_interval_ms
    return min(probe_interval_ms, ABSENT_MS if serving.reason == "KServeNotInstalled" else STARTING_MS)
