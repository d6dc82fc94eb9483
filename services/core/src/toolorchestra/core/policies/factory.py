"""From a pinned revision to the policy that manages its runs."""

from toolorchestra.core.chat import ChatModels
from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.core.policies.baselines import BaselinePolicy
from toolorchestra.core.policies.prompted import PromptedPolicy
from toolorchestra.core.policies.protocol import Policy
from toolorchestra.core.policies.signatures import SignaturePolicy
from toolorchestra.core.revision import Revision


def policy_for(revision: Revision, models: ChatModels) -> Policy:
    """The policy that ``revision`` pins. Raises InvalidRequestError for a revision without one."""
    spec = revision.policy
    if spec is None:
        raise InvalidRequestError(f"{revision.model!r} is a plain model; it has no policy")
    if spec.baseline is not None:
        return BaselinePolicy(spec.baseline, models)
    if revision.manager is None:
        raise InvalidRequestError(f"{revision.model!r} names a manager model that is not pinned")
    if spec.format == "signatures":
        return SignaturePolicy(revision.manager, models, adapter=spec.adapter)
    return PromptedPolicy(revision.manager, models)


def policy_name(revision: Revision) -> str:
    """How the policy is named in facts and reports: ``baseline:cascade`` or ``expert:namespace/name``."""
    if revision.policy is not None and revision.policy.baseline is not None:
        return f"baseline:{revision.policy.baseline}"
    kind = "expert" if revision.policy is not None else "passthrough"
    target = revision.manager.target if revision.manager else None
    return f"{kind}:{target.namespace}/{target.name}" if target else kind
