"""Seeded randomness: a generator per name, so that adding one thing does not change how others are drawn."""

from collections.abc import Sequence
from random import Random
from typing import TypeVar

Item = TypeVar("Item")


def generator(*names: object) -> Random:
    """A generator for a purpose, e.g. ``generator(seed, "railway", "rows")``; equal names draw equally on every machine."""
    return Random("/".join(map(str, names)))  # a text seeds by SHA-512, whatever PYTHONHASHSEED is


def weighted(random: Random, *choices: tuple[Item, float]) -> Item:
    """One of the choices, by weight."""
    return random.choices([item for item, _ in choices], [weight for _, weight in choices])[0]


def some(random: Random, items: Sequence[Item], count: int) -> list[Item]:
    """``count`` different items in random order, or all there are."""
    return random.sample(items, min(count, len(items)))


def chance(random: Random, share: float) -> bool:
    """True as often as the share says."""
    return random.random() < share
