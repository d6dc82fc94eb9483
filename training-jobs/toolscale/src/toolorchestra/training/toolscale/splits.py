"""Which tasks are for learning and which are for judging what was learnt: held out are domains, intents and wording templates.

What is held out follows from names alone, not from a seed: another draw, more tasks or one more domain move nothing that was
held out before to the other side, so that a manager trained yesterday can be judged on the tasks of tomorrow. A task never
joins held-out parts with others: no part of a held-out task is in ``train``, not even beside something new.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

TRAIN: Final = "train"
TEST: Final = "test"  # what train is made of, in other tasks
HELDOUT_DOMAIN: Final = "heldout-domain"
HELDOUT_INTENT: Final = "heldout-intent"
HELDOUT_TEMPLATE: Final = "heldout-template"
HELD_OUT: Final = (HELDOUT_DOMAIN, HELDOUT_INTENT, HELDOUT_TEMPLATE)
SPLITS: Final = (TRAIN, TEST, *HELD_OUT)
HELDOUT_DOCUMENT: Final = "heldout-document"  # of questions, which have no domains and intents
QUESTION_SPLITS: Final = (TRAIN, TEST, HELDOUT_DOCUMENT, HELDOUT_TEMPLATE)

DOMAINS: Final = frozenset({"medicine", "weather"})  # two that are little like the others
SHARE: Final = 0.2  # of the intents, and of the templates, of each other domain
TEST_SHARE: Final = 0.1  # of the tasks without a held-out part
TEMPLATE_TASKS: Final = 0.25  # how often an intent that has held-out templates is asked for by one of them
MOST_PER_INTENT: Final = 3  # one in so many templates of an intent is held out, at most


@dataclass(frozen=True, slots=True)
class Division:
    """What of one domain is held out: all of it, or some intents, and templates of the others (intent → their numbers).

    ``requests``: how many templates each intent has.
    """

    domain: str
    requests: Mapping[str, int]
    whole: bool
    intents: frozenset[str]
    templates: Mapping[str, frozenset[int]]

    def companions(self, intent: str, *, held_out_template: bool) -> list[str]:
        """The intents that one task may join with this one, itself left out."""
        same_side = [one for one in self.requests if one != intent and (one in self.intents) == (intent in self.intents)]
        return [one for one in same_side if not held_out_template or self.templates.get(one)]

    def numbers(self, intent: str, *, held_out_template: bool) -> Sequence[int]:
        """The templates by which this intent may be asked for."""
        kept_back = self.templates.get(intent, frozenset())
        return [number for number in range(self.requests[intent]) if (number in kept_back) == held_out_template]

    def tags(self, intents: Sequence[str], *, held_out_template: bool, key: str) -> tuple[str, ...]:
        """The splits of a task: ``train``, ``test``, or whatever of it is held out. ``key`` names its golden calls."""
        if self.whole:
            return (HELDOUT_DOMAIN,)
        held_out = [tag for tag, holds in self._held_out(intents, held_out_template=held_out_template) if holds]
        if held_out:
            return tuple(held_out)
        return (TEST,) if draw(self.domain, key) < TEST_SHARE else (TRAIN,)

    def _held_out(self, intents: Sequence[str], *, held_out_template: bool) -> tuple[tuple[str, bool], ...]:
        return (HELDOUT_INTENT, not self.intents.isdisjoint(intents)), (HELDOUT_TEMPLATE, held_out_template)


def divide(domain: str, requests: Mapping[str, int], *, held_out: frozenset[str] = DOMAINS) -> Division:
    """Divide a domain. ``requests``: its intents with how many request templates each has; ``held_out``: whole domains."""
    if domain in held_out:
        return Division(domain, requests, whole=True, intents=frozenset(), templates={})
    ranked = sorted(requests, key=lambda intent: draw(domain, intent))
    intents = frozenset(ranked[: _part(len(requests))])
    return Division(domain, requests, whole=False, intents=intents, templates=_held_templates(domain, requests))


def _held_templates(domain: str, requests: Mapping[str, int]) -> dict[str, frozenset[int]]:
    """A share of all templates of a domain, no intent losing more than a third of its own."""
    pairs = [(intent, number) for intent, count in requests.items() for number in range(count)]
    wanted, found = _part(len(pairs)), dict[str, frozenset[int]]()
    for intent, number in sorted(pairs, key=lambda pair: draw(domain, *pair)):
        mine = found.get(intent, frozenset())
        if wanted and len(mine) < requests[intent] // MOST_PER_INTENT:
            found[intent], wanted = mine | {number}, wanted - 1
    return found


def _part(count: int) -> int:
    return round(SHARE * count)


def draw(*names: object) -> float:
    """From 0 to 1, the same for the same names."""
    digest = blake2b("/".join(map(str, names)).encode(), digest_size=8).digest()
    return int.from_bytes(digest) / (1 << 64)
