"""Questions that take a strong expert: laws of physics, chemistry and mathematics that the question does not state.

The numbers are in the question, the way from them to the answer is not, and no document of the collection gives it. In
simulations the skill for them is simulated only.
"""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from random import Random
from typing import Final

from toolorchestra.training.toolscale.qa.drafts import Draft, Generator, UnsuitableDraftError, rounded, say
from toolorchestra.worlds.questions import Need
from toolorchestra.worlds.values import Kind

ALONE: Final = "[Reply with the number alone.|Give just the number.]"
GRAVITY: Final = 9.81
ATOMS: Final[Mapping[str, float]] = {
    "H": 1.008, "C": 12.011, "N": 14.007, "O": 15.999, "Na": 22.990, "Mg": 24.305, "S": 32.06, "Cl": 35.45, "K": 39.098,
    "Ca": 40.078, "Fe": 55.845, "Cu": 63.546,
}  # fmt: skip
COMPOUNDS: Final[Mapping[str, Mapping[str, int]]] = {
    "glucose": {"C": 6, "H": 12, "O": 6}, "sodium chloride": {"Na": 1, "Cl": 1}, "calcium carbonate": {"Ca": 1, "C": 1, "O": 3},
    "ammonia": {"N": 1, "H": 3}, "sulfuric acid": {"H": 2, "S": 1, "O": 4}, "ethanol": {"C": 2, "H": 6, "O": 1},
    "potassium nitrate": {"K": 1, "N": 1, "O": 3}, "iron(III) oxide": {"Fe": 2, "O": 3}, "methane": {"C": 1, "H": 4},
    "magnesium chloride": {"Mg": 1, "Cl": 2}, "acetic acid": {"C": 2, "H": 4, "O": 2},
    "copper(II) sulfate": {"Cu": 1, "S": 1, "O": 4},
    "sucrose": {"C": 12, "H": 22, "O": 11}, "urea": {"C": 1, "H": 4, "N": 2, "O": 1},
}  # fmt: skip


def pendulum(random: Random) -> Draft:
    length = random.randrange(45, 990)
    value = near(2 * math.pi * math.sqrt(length / 100 / GRAVITY), 2)
    return _ask(
        random,
        "physics",
        "pendulum",
        value,
        2,
        "What is the period in seconds, to two decimals, of a simple pendulum {length} cm long for small swings? "
        "Take g as 9.81 m/s². ",
        "A weight hangs on a thread of {length} cm. How many seconds does a small swing there and back take (g = 9.81 m/s²), "
        "to two decimals? ",
        length=length,
    )


def projectile(random: Random) -> Draft:
    speed, angle = random.randrange(11, 88), random.randrange(18, 73)
    value = near(speed**2 * math.sin(math.radians(2 * angle)) / GRAVITY, 1)
    return _ask(
        random,
        "physics",
        "projectile",
        value,
        2,
        "A ball is thrown at {speed} m/s, {angle} degrees above the ground. How many metres away does it land on level ground, "
        "without air (g = 9.81 m/s²), to one decimal? ",
        "How far in metres, to one decimal, does a stone fly over flat ground that leaves it with {speed} m/s at an angle of "
        "{angle} degrees? Neglect air; g is 9.81 m/s². ",
        speed=speed,
        angle=angle,
    )


def photon(random: Random) -> Draft:
    length = random.randrange(210, 1_900)
    value = near(1239.841984 / length, 2)
    return _ask(
        random,
        "physics",
        "photon",
        value,
        2,
        "What is the energy in electronvolts, to two decimals, of a photon of {length} nm wavelength? ",
        "Light has a wavelength of {length} nm. How many electronvolts does one of its photons carry, to two decimals? ",
        length=length,
    )


def stopping(random: Random) -> Draft:
    speed, friction = random.randrange(31, 150), random.randrange(25, 90)
    value = near((speed / 3.6) ** 2 / (2 * friction / 100 * GRAVITY), 1)
    return _ask(
        random,
        "physics",
        "stopping",
        value,
        2,
        "A car at {speed} km/h brakes with locked wheels; the friction coefficient is {friction}. After how many metres does "
        "it stand (g = 9.81 m/s²), to one decimal? ",
        "How many metres, to one decimal, does a car slide from {speed} km/h with a coefficient of friction of {friction} and "
        "g = 9.81 m/s²? ",
        speed=speed,
        friction=friction / 100,
    )


def orbit(random: Random) -> Draft:
    height = random.randrange(300, 2_000, 5)
    value = near(2 * math.pi * math.sqrt(((6_371 + height) * 1e3) ** 3 / 3.986004e14) / 60, 1)
    return _ask(
        random,
        "physics",
        "orbit",
        value,
        3,
        "How many minutes, to one decimal, does a satellite take for one circular orbit {height} km above the ground? Take the "
        "Earth's radius as 6,371 km and GM as 3.986004e14 m³/s². ",
        "A satellite circles the Earth {height} km above it (radius of the Earth 6,371 km, GM 3.986004e14 m³/s²). What is "
        "its period in minutes, to one decimal? ",
        height=height,
    )


def molar_mass(random: Random) -> Draft:
    compound, moles = random.choice(sorted(COMPOUNDS)), random.randrange(15, 98)
    value = near(_mass(compound) * moles / 10, 1)
    return _ask(
        random,
        "chemistry",
        "molar_mass",
        value,
        2,
        "How many grams, to one decimal, are {moles} mol of {compound}, by standard atomic weights? ",
        "What is the mass in grams of {moles} mol of {compound} (standard atomic weights), to one decimal? ",
        compound=compound,
        moles=moles / 10,
    )


def solution(random: Random) -> Draft:
    compound, millilitres, molar = random.choice(sorted(COMPOUNDS)), random.randrange(120, 950, 5), random.randrange(12, 95)
    value = near(_mass(compound) * molar / 100 * millilitres / 1_000, 2)
    return _ask(
        random,
        "chemistry",
        "solution",
        value,
        3,
        "For {ml} mL of a {molar} M solution, how many grams of {compound} have to be weighed in, to two decimals? ",
        "How many grams of {compound} are in {ml} mL of its {molar} molar solution, to two decimals? ",
        compound=compound,
        ml=millilitres,
        molar=molar / 100,
    )


def acidity(random: Random) -> Draft:
    digits, power = random.randrange(15, 96), random.randint(2, 5)
    value = near(-math.log10(digits / 10 * 10.0**-power), 2)
    return _ask(
        random,
        "chemistry",
        "acidity",
        value,
        2,
        "What is the pH, to two decimals, of hydrochloric acid with {digits} × 10^-{power} mol/L? ",
        "A strong monoprotic acid is dissolved at {digits} × 10^-{power} mol per litre. Which pH results, to two decimals? ",
        digits=digits / 10,
        power=power,
    )


def dilution(random: Random) -> Draft:
    stock, target, millilitres = random.randrange(30, 180), random.randrange(2, 25), random.randrange(150, 990, 10)
    value = near(target / 10 * millilitres / (stock / 10), 1)
    return _ask(
        random,
        "chemistry",
        "dilution",
        value,
        1,
        "How many mL of a {stock} M stock, to one decimal, make {ml} mL of a {target} M solution? ",
        "{ml} mL at {target} mol/L are to be made from a stock of {stock} mol/L. How many mL of the stock does it take, to one "
        "decimal? ",
        stock=stock / 10,
        target=target / 10,
        ml=millilitres,
    )


def power_mod(random: Random) -> Draft:
    base, exponent, modulus = random.randrange(3, 60), random.randrange(40, 400), random.randrange(101, 997)
    return _ask(
        random,
        "mathematics",
        "power_mod",
        _large(pow(base, exponent, modulus)),
        2,
        "What is the remainder of {base}^{exponent} divided by {modulus}? ",
        "Compute {base} to the power of {exponent} modulo {modulus}. ",
        base=base,
        exponent=exponent,
        modulus=modulus,
    )


def totient(random: Random) -> Draft:
    number = random.randrange(300, 5_000)
    value = sum(math.gcd(number, other) == 1 for other in range(1, number))
    return _ask(
        random,
        "mathematics",
        "totient",
        _large(value),
        2,
        "How many whole numbers from 1 to {number} have no common divisor with {number} except 1? ",
        "What is Euler's totient of {number}? ",
        number=number,
    )


def lattice(random: Random) -> Draft:
    across, up = random.randint(5, 11), random.randint(5, 11)
    x, y = random.randint(1, across - 1), random.randint(1, up - 1)
    value = math.comb(across + up, up) - math.comb(x + y, y) * math.comb(across - x + up - y, up - y)
    return _ask(
        random,
        "mathematics",
        "lattice",
        _large(value),
        3,
        "How many shortest ways on a grid lead {across} blocks east and {up} blocks north, if the crossing {x} east and {y} "
        "north of the start is closed? ",
        "A taxi drives {across} blocks east and {up} north without detours but must not pass the crossing at ({x}, {y}), "
        "counted in blocks from the start. How many routes are there? ",
        across=across,
        up=up,
        x=x,
        y=y,
    )


def zeros(random: Random) -> Draft:
    number = random.randrange(120, 4_000)
    value = sum(number // 5**power for power in range(1, 7))
    return _ask(
        random,
        "mathematics",
        "zeros",
        _large(value),
        1,
        "With how many zeros does the factorial of {number} end? ",
        "How many trailing zeros has {number}! in decimal notation? ",
        number=number,
    )


GENERATORS: Final[Sequence[Generator]] = (
    pendulum,
    projectile,
    photon,
    stopping,
    orbit,
    molar_mass,
    solution,
    acidity,
    dilution,
    power_mod,
    totient,
    lattice,
    zeros,
)


def near(value: float, places: int) -> int | float:
    """A rounded value. Raises UnsuitableDraftError where the last digit hangs on how constants are rounded."""
    found = rounded(Fraction(value), places)
    if any(rounded(Fraction(value * factor), places) != found for factor in (0.99996, 1.00004)):
        raise UnsuitableDraftError
    return found


def _mass(compound: str) -> float:
    """In grams per mole."""
    return sum(ATOMS[atom] * count for atom, count in COMPOUNDS[compound].items())


def _large(value: int) -> int:
    if value < 10:  # noqa: PLR2004 - small counts are guessed too easily
        raise UnsuitableDraftError
    return value


def _ask(random: Random, topic: str, name: str, value: float, steps: int, first: str, second: str, **values: object) -> Draft:
    number, text = say(random, first + ALONE, second + ALONE, **values)
    return Draft(f"{name}.{number}", text, Kind.NUMBER, value, topic, Need.EXPERT, f"{topic}/{name}", steps)
