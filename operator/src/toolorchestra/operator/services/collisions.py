"""Functions of the same name: which resource keeps the name, and what the others are told.

Within a namespace Tools come before ExpertModels, then the alphabet decides, as in the data plane. Own functions come before
lent ones, so what another tenant lends never makes an own resource fail.
"""

from collections.abc import Iterable
from typing import Final

from toolorchestra.core.resources import ExpertModel, Tool
from toolorchestra.operator.services.index import Index, function_names
from toolorchestra.operator.services.kinds import Reference

_RANK: Final = {"Tool": 0, "ExpertModel": 1}


def collision(index: Index, resource: Tool | ExpertModel, names: Iterable[str] | None = None) -> str | None:
    """Why the resource is not accepted: another one of its namespace has a function of the same name; None without one.

    ``names``: those of its functions, if they are known better than by what is stored.
    """
    me = _reference(resource)
    for name in sorted(_stored_names(index, resource) if names is None else names):
        rivals = [one for one in index.offering(name) if one.namespace == me.namespace and _rank(one) < _rank(me)]
        if rivals:
            first = min(rivals, key=_rank)
            return f"the {first.kind} {first.name!r} has the function {name!r} too; rename one"
    return None


def hidden(index: Index, resource: Tool | ExpertModel) -> str | None:
    """A lent function that the resource hides by its name, which is no fault. Who lends is not told who hides."""
    me = _reference(resource)
    for name in sorted(_stored_names(index, resource)):
        for other in sorted(index.offering(name) - {me}):
            if other.namespace != me.namespace and _lends(index, other, me.namespace):
                return f"here it hides the function {name!r} that {other.namespace!r} lends"
    return None


def _lends(index: Index, owner: Reference, user: str) -> bool:
    entry = index.get(owner)
    resource = entry.resource if entry else None
    if not isinstance(resource, Tool | ExpertModel):
        return False
    return resource.spec.allowed_namespaces.allows(owner=owner.namespace, user=user)


def _reference(resource: Tool | ExpertModel) -> Reference:
    return Reference(resource.kind, resource.metadata.namespace, resource.metadata.name)


def _stored_names(index: Index, resource: Tool | ExpertModel) -> frozenset[str]:
    entry = index.get(_reference(resource))
    return entry.names if entry else function_names(resource, {})


def _rank(one: Reference) -> tuple[int, str]:
    return _RANK[one.kind], one.name
