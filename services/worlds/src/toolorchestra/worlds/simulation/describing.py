"""Descriptions of simulated experts, as their makers would write them, and true: they follow the drawn skills."""

from collections.abc import Mapping, Sequence
from random import Random
from statistics import fmean
from typing import Final

MOST: Final = 7  # weak topics named
FEWEST: Final = 4  # topics that make a specialist
GOOD, POOR = 1.2, 1.2  # logits above and below its middle that are worth saying
STRONG, FAIR = 2.0, 0.35  # logits on the whole
QUICK_MS, SLOW_MS = 7, 16  # per token

WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "finance": ("banking, cards and loans", "accounts, payments and loans"),
    "sport": ("sports clubs, courts and memberships", "memberships, courses and tournaments of sports clubs"),
    "ecommerce": ("online shops, orders and parcels", "shop orders, products and deliveries"),
    "medicine": ("medical practices, appointments and prescriptions", "patients, appointments and referrals"),
    "entertainment": ("theatre, cinema and tickets for shows", "performances, seats and gift cards"),
    "railway": ("railways, trains and tickets", "train journeys, bookings and railcards"),
    "restaurant": ("restaurants, tables and menus", "table bookings, menus and deliveries of food"),
    "education": ("schools, courses and exams", "students, courses and grades"),
    "travel": ("hotels, flights and trips", "holidays, flights and hotel rooms"),
    "weather": ("weather, forecasts and warnings", "forecasts, stations and weather alerts"),
    "obtaining": ("booking and ordering new things", "placing orders and making bookings"),
    "undoing": ("cancelling, returning and claiming money back", "cancellations, refunds and claims"),
    "changing": ("changing what is booked, moving and transferring", "changes to bookings, details and transfers"),
    "informing": ("looking things up and adding them up", "finding out, comparing and totals"),
    "science": ("natural science", "facts of science and nature"),
    "geography": ("geography", "countries, rivers and cities"),
    "history": ("history and literature", "historical events and people"),
    "computing": ("computing and its history", "facts about computers and programming"),
    "product": ("the documentation of ToolOrchestra", "how ToolOrchestra works"),
    "search": ("looking facts up in documents", "questions that documents answer"),
    "expert": ("problems that take a specialist", "hard technical questions"),
    "arithmetic": ("arithmetic", "sums, percentages and interest"),
    "code": ("code and data tables", "computing over tables, as a program would"),
    "physics": ("physics", "problems of mechanics and energy"),
    "chemistry": ("chemistry", "molecules, masses and solutions"),
    "mathematics": ("mathematics", "number theory and combinatorics"),
}
_WHOLE: Final = {
    "strong": (
        "A large model that is good at nearly everything.",
        "A strong general model.",
        "A frontier model for hard requests.",
    ),
    "fair": ("A solid all-round model.", "A general model of middling strength."),
    "weak": (
        "A small model for simple requests.",
        "A compact model; use it for easy things.",
        "A light model for everyday requests.",
    ),
    "special": ("A specialised model.", "A model trained for a few areas.", "A model for particular areas."),
}
_BEST: Final = ("At its best with {}.", "Excels at {}.", "Made for {}.", "Reliable on {}.")
_POOR: Final = ("Unreliable on {}.", "Do not rely on it for {}.", "Weak at {}.")
_ELSE: Final = ("Elsewhere it is often wrong.", "Outside of these it makes mistakes.")
_SPEED: Final = {"quick": ("Answers quickly.", "Fast."), "slow": ("Takes its time.", "Slow, as it thinks first.")}


def describe(skills: Mapping[str, float], base: float, ms_per_token: int, random: Random) -> str:
    """Two to four sentences: what it is on the whole, where it is good and poor, how fast."""
    middle = fmean(skills.values())
    order = sorted(skills, key=lambda topic: (skills[topic], topic))
    good = good_topics(skills, base)
    poor = [topic for topic in order if skills[topic] < middle - POOR] if not good else []
    parts = [random.choice(_WHOLE["special" if good else _size(middle)])]
    if good:
        parts += [random.choice(_BEST).format(_listed(good, random)), random.choice(_ELSE)]
    elif poor:
        parts.append(random.choice(_POOR).format(_listed(poor[:MOST], random)))
    if speed := "quick" if ms_per_token <= QUICK_MS else "slow" if ms_per_token >= SLOW_MS else "":
        parts.append(random.choice(_SPEED[speed]))
    return " ".join(parts)


def good_topics(skills: Mapping[str, float], base: float) -> list[str]:
    """Where an expert stands out, best first; none for one that is much the same everywhere."""
    found = [topic for topic, skill in skills.items() if skill > base + GOOD]
    return sorted(found, key=lambda topic: (-skills[topic], topic)) if len(found) >= FEWEST else []


def _size(middle: float) -> str:
    return "strong" if middle >= STRONG else "fair" if middle >= FAIR else "weak"


def _listed(topics: Sequence[str], random: Random) -> str:
    words = [random.choice(WORDS.get(topic, (topic.replace("_", " "),))) for topic in topics]
    return "; ".join(words)
