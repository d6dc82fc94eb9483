"""A domain: how rows are drawn, what users want, how they say it.

It is a folder in ``domains``: ``rows.py``, ``intents.py`` with ``DOMAIN``, ``wording.yaml``; beside a world's folder with its
schema, tools and policy. ``domains`` is a namespace package: a distribution of yours may hold another folder of it, which is
found like the shipped ones.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any, Final, TypeAlias

from toolorchestra.training.toolscale.composing import Intent
from toolorchestra.training.toolscale.splits import Division, divide
from toolorchestra.training.toolscale.wording import Wording, read_wording
from toolorchestra.worlds.errors import InvalidWorldError

PACKAGE: Final = "toolorchestra.training.toolscale.domains"
DrawnRows: TypeAlias = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class Domain:
    """``world`` is the folder with world.yaml, tools.py and policy.md, or the name of a shipped one; ``draw_rows`` fills it.

    ``written``: how many request templates each intent had before its wording was widened, None if it was not: what is held out
    is drawn of those, so that it stays the same.
    """

    name: str
    world: Path | str
    draw_rows: Callable[[Random], DrawnRows]
    intents: Sequence[Intent]
    wording: Wording
    written: Mapping[str, int] | None = None

    @property
    def division(self) -> Division:
        """What of it is held out."""
        return replace(divide(self.name, self.written or self.requests), requests=self.requests)

    @property
    def requests(self) -> Mapping[str, int]:
        """How many request templates each intent has."""
        return {intent.name: len(self.wording.intents[intent.name].request) for intent in self.intents}


def make_domain(
    module: str, intents: Sequence[Intent], draw_rows: Callable[[Random], DrawnRows], *, world: Path | str | None = None
) -> Domain:
    """``make_domain(__file__, …)``: the domain of this folder, by its name and with its wording.yaml."""
    folder = Path(module).parent
    return Domain(folder.name, world or folder.name, draw_rows, tuple(intents), read_wording(folder / "wording.yaml"))


def domain_names() -> list[str]:
    """Names of all domains that are installed."""
    roots = import_module(PACKAGE).__path__
    return sorted({path.parent.name for root in roots for path in Path(root).glob("*/intents.py")})


def find_domain(name: str) -> Domain:
    """The domain of this name. Raises InvalidWorldError that lists those there are."""
    if name not in domain_names():
        hint = f"there are {', '.join(domain_names())}"
        raise InvalidWorldError(f"there is no domain {name!r}", param="domain", hint=hint)
    found = getattr(import_module(f"{PACKAGE}.{name}.intents"), "DOMAIN", None)
    if not isinstance(found, Domain):
        raise InvalidWorldError(
            f"{PACKAGE}.{name}.intents: DOMAIN is no Domain", param="DOMAIN", hint="write DOMAIN = make_domain(…)"
        )
    return found
