"""Preferences: words go to the model, weights score, hard rules are enforced outside the model.

Rewards are in a module of their own; here is what every run needs: merging, rules, and weights read from plain words for
policies that cannot read.
"""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

from toolorchestra.core.durations import parse_duration_ms
from toolorchestra.core.functions import Function
from toolorchestra.core.money import NanoUsd
from toolorchestra.core.resources.meta import nano_usd
from toolorchestra.core.resources.orchestrator import PreferenceSpec, Weights

# Only for baselines: a model reads the words itself. The order matters: the first match of an aspect counts.
_BEST: Final = re.compile(
    r"(regardless of|no matter|ignore|whatever|at any) (what )?(the |it )?(cost|price)s?\b"
    r"|(cost|price|money) (does(n['’]t| not) matter|is no object)|\bbest (possible )?(answer|quality)",
    re.IGNORECASE,
)
_CHEAP: Final = re.compile(r"\b(cheap\w*|low[- ]cost|save money|small budget|inexpensive|economical)\b", re.IGNORECASE)
_FAST: Final = re.compile(r"\b(fast\w*|quick\w*|hurry|urgent\w*|low[- ]latency|asap)\b", re.IGNORECASE)
STRONG_WISH: Final = 0.8


def weights_of(preference: PreferenceSpec) -> Weights:
    """The weights of a preference; where none were set but there are words, what the words plainly say."""
    if preference.words is None or preference.weights != Weights():
        return preference.weights
    if _BEST.search(preference.words):
        return Weights(accuracy=1.0)
    cheap = STRONG_WISH if _CHEAP.search(preference.words) else 0.0
    fast = STRONG_WISH if _FAST.search(preference.words) else 0.0
    return Weights(accuracy=1.0, cost=cheap, latency=fast)


def wants_cheap(preference: PreferenceSpec) -> bool:
    """Whether being cheap weighs so much that escalating to a dearer model is out of place."""
    return weights_of(preference).cost >= STRONG_WISH / 2


def wants_best(preference: PreferenceSpec) -> bool:
    """Whether the words ask for the best answer at any price."""
    return preference.words is not None and _BEST.search(preference.words) is not None


def permitted(function: Function, preference: PreferenceSpec) -> str | None:
    """Why a hard rule forbids the function; None if it may be called."""
    return forbidden(function.name, preference, inside=function.inside)


def forbidden(name: str | None, preference: PreferenceSpec, *, inside: bool) -> str | None:
    """Why a hard rule forbids what has this name (None: it is no function) and leads inside or outside; None if none does."""
    if name is not None and preference.allow and not matches(name, preference.allow):
        return "it is not in the list of allowed functions"
    if name is not None and matches(name, preference.deny):
        return "it is in the list of denied functions"
    if preference.inside_only and not inside:
        return "data must stay inside, and this function leads outside"
    return None


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name fits one of the shell-style patterns; ``search`` also covers its operations ``search__…``."""
    return any(fnmatchcase(name, p) or name.startswith(f"{p}__") for p in patterns)


def cost_cap(preference: PreferenceSpec, *caps: NanoUsd | None) -> NanoUsd | None:
    """The tightest of the caps on money that are set, in nano-USD."""
    values = [cap for cap in (nano_usd(preference.max_cost), *caps) if cap is not None]
    return min(values, default=None)


def time_cap_ms(preference: PreferenceSpec, limit_ms: int) -> int:
    """The tighter of the preference's and the orchestrator's time, in ms."""
    return limit_ms if preference.max_latency is None else min(limit_ms, parse_duration_ms(preference.max_latency))
