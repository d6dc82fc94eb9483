"""The labels that everything made for a resource carries, so that it can be listed and led back to its resource."""

from toolorchestra.core.resources.meta import GROUP


def labels_for(kind: str, name: str) -> dict[str, str]:
    """The labels of an object that the resource ``kind`` ``name`` of the same namespace made."""
    return {"app.kubernetes.io/managed-by": "toolorchestra", f"{GROUP}/kind": kind, f"{GROUP}/name": name}
