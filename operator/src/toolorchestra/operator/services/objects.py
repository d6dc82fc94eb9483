"""What can be told of any Kubernetes object: whose it is, and whether it is already as it should be. Pure."""

from typing import Any

from toolorchestra.kit.kubernetes import KubernetesObject


def owned_by(body: KubernetesObject, uid: str) -> bool:
    """Whether the object has this owner."""
    return any(ref.get("uid") == uid for ref in body["metadata"].get("ownerReferences") or [])


def covers(found: Any, wanted: Any) -> bool:
    """Whether all that is wanted is found; what the server and its controllers added does not count."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(key in found and covers(found[key], part) for key, part in wanted.items())
    if isinstance(wanted, list):
        same = isinstance(found, list) and len(found) == len(wanted)
        return same and all(covers(one, part) for one, part in zip(found, wanted, strict=True))
    return bool(found == wanted)
