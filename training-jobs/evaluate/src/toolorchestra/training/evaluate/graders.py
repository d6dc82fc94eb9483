"""Graders say whether an answer to a question is right, given the reference answer.

One's own grader is a distribution with an entry point in the group ``toolorchestra.graders`` that names a factory
``(config: Mapping[str, Any]) -> Grader``; those below are found in the same way. Only the judge needs models and is built by
hand. An answer that offers several different values where one is asked for is wrong: nobody may guess twice.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import entry_points
from typing import Any, Final, Protocol

from toolorchestra.core.errors import InvalidManifestError
from toolorchestra.core.money import NanoUsd
from toolorchestra.training.evaluate.errors import InvalidPlanError
from toolorchestra.training.evaluate.numbers import close, quantities

ENTRY_POINT_GROUP: Final = "toolorchestra.graders"
_MARKER: Final = re.compile(
    r"\b(?:(?:final|correct|exact|my)\s+(?:answer|choice)|answer|result)\s*(?:is|are|=|:)+\s*:?", re.IGNORECASE
)
_ARTICLES: Final = frozenset({"a", "an", "the"})


@dataclass(frozen=True, slots=True)
class Case:
    """What is judged."""

    question: str
    reference: str
    answer: str


@dataclass(frozen=True, slots=True)
class Grade:
    """A verdict with its reason; ``cost_nano_usd`` is what grading took, and never the policy's to pay."""

    right: bool
    reason: str
    cost_nano_usd: NanoUsd = 0


class Grader(Protocol):
    """Judges answers. Raises UpstreamError where grading itself failed, which says nothing about the answer."""

    async def grade(self, case: Case) -> Grade:
        """Whether the answer says what the reference says."""
        ...


class GraderFactory(Protocol):
    """The entry point."""

    def __call__(self, config: Mapping[str, Any]) -> Grader:
        """Raises InvalidManifestError for settings it does not understand."""
        ...


def find_grader(name: str, config: Mapping[str, Any] | None = None) -> Grader:
    """A grader by the name of its entry point. Raises InvalidPlanError, naming those that are installed."""
    found = {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}
    if name not in found:
        raise InvalidPlanError(
            f"there is no grader {name!r}", param="grader", hint=f"installed are {', '.join(sorted(found)) or 'none'}"
        )
    factory: GraderFactory = found[name].load()
    return factory(config or {})


def settings_of(config: Mapping[str, Any], **defaults: Any) -> dict[str, Any]:
    """The config over its defaults. Raises InvalidManifestError for a setting that is unknown or of another type."""
    for name, value in config.items():
        if name not in defaults:
            known = ", ".join(defaults) or "it takes none"
            raise InvalidManifestError(f"the grader has no setting {name!r}", param=name, hint=f"known settings: {known}")
        if not isinstance(value, type(defaults[name])):
            raise InvalidManifestError(f"the setting {name} must be a {type(defaults[name]).__name__}", param=name)
    return defaults | dict(config)


def final_part(answer: str) -> str:
    """What follows the last "the answer is", or all of it. Trailing full stops go."""
    places = list(_MARKER.finditer(answer))
    return (answer[places[-1].end() :] if places else answer).strip().rstrip(".").strip()


def normalise(text: str) -> str:
    """Fold what does not matter: case, accents, width, punctuation at the edges of words, articles, spaces."""
    text = "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter)).casefold()
    text = re.sub(r"(?<=\d),(?=\d{3})", "", text)
    words = (re.sub(r"^[^\w+-]+|[^\w%+]+$", "", word) for word in text.split())
    return " ".join(word for word in words if word and word not in _ARTICLES)


def same_words(case: Case) -> bool:
    """Whether the answer, or what follows "the answer is", is the reference after folding."""
    wanted = normalise(case.reference)
    return bool(wanted) and wanted in (normalise(case.answer), normalise(final_part(case.answer)))


class Exact:
    """Right is what equals the reference letter by letter, but for spaces at the ends."""

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        settings_of(config or {})

    async def grade(self, case: Case) -> Grade:
        right = case.answer.strip() == case.reference.strip()
        return Grade(right, "equal" if right else "not equal")


class Normalised:
    """Right is the same words after folding, as the whole answer or as what follows "the answer is"."""

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        settings_of(config or {})

    async def grade(self, case: Case) -> Grade:
        right = same_words(case)
        return Grade(right, "the same words" if right else "other words")


class Numeric:
    """Right is one number within a tolerance, with units converted.

    Config: ``relative`` (default ``"0.001"``) and ``absolute`` (default ``"0"``), decimal strings; the larger one holds.
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        settings = settings_of(config or {}, relative="0.001", absolute="0")
        self._relative, self._absolute = (_tolerance(name, settings[name]) for name in ("relative", "absolute"))

    async def grade(self, case: Case) -> Grade:
        wanted = quantities(case.reference)
        if len(wanted) != 1:
            raise InvalidManifestError(f"the reference {case.reference!r} is not one number", hint="use another grader for it")
        said = set(quantities(unboxed(case.answer) or final_part(case.answer)))
        if len(said) != 1:
            return Grade(right=False, reason="several numbers" if said else "no number")
        right = close(wanted[0], said.pop(), relative=self._relative, absolute=self._absolute)
        return Grade(right, "within the tolerance" if right else "another number")


def _tolerance(name: str, text: str) -> Fraction:
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise InvalidManifestError(f"{name}: {text!r} is not a number", param=name, hint='write e.g. "0.001"') from error
    if value < 0:
        raise InvalidManifestError(f"{name} must not be negative", param=name)
    return value


_CHOICES: Final = (
    re.compile(r"\(\s*([A-Z])\s*\)"),
    re.compile(r"\*\*\s*\(?([A-Z])\)?[.:)]?(?:\s[^*]*)?\*\*"),
    re.compile(r"\b(?:[Oo]ption|[Cc]hoice|[Ll]etter)\s+\(?([A-Z])\b"),
    re.compile(r"(?:^|\n)\s*([A-Z])(?=[.):]|\s*(?:\n|$))"),
)


class Choice:
    """Right is the reference's letter, however it is marked: ``B``, ``(B)``, ``B. because``, ``the answer is B``."""

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        settings_of(config or {})

    async def grade(self, case: Case) -> Grade:
        said = chosen(case.answer)
        if len(said) != 1:
            return Grade(right=False, reason=f"several choices: {', '.join(sorted(said))}" if said else "no choice")
        right = said == chosen(case.reference)
        return Grade(right, "the right choice" if right else "another choice")


def chosen(answer: str) -> set[str]:
    """The letters that an answer settles on: those after "the answer is", else all that are marked as choices."""
    boxed = unboxed(answer)
    part = boxed if boxed is not None else final_part(answer)
    if found := re.match(r"\W*(?:\\text\{)?([A-Z])(?![\w'])(?!\s+[a-z])", part):
        return {found[1]}
    return {letter for pattern in _CHOICES for letter in pattern.findall(part)}


class Boxed:
    r"""Right is what stands in the last ``\boxed{…}``: the same number or, after folding, the same LaTeX."""

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        settings_of(config or {})

    async def grade(self, case: Case) -> Grade:
        said, wanted = unboxed(case.answer), unboxed(case.reference) or case.reference
        if said is None:
            return Grade(right=False, reason="nothing is boxed")
        right = fold_latex(said) == fold_latex(wanted) or _same_number(said, wanted)
        return Grade(right, "the same expression" if right else "another expression")


def unboxed(text: str) -> str | None:
    r"""The content of the last complete ``\boxed{…}``, braces balanced; None if there is none."""
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    begin, depth = start + len("\\boxed{"), 1
    for place in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[begin:place].strip()
    return unboxed(text[:start])


_FOLDED: Final = (
    (re.compile(r"\\(?:text|mathrm|textbf|mathbf|operatorname)\s*\{([^{}]*)\}"), r"\1"),
    (re.compile(r"\\(?:left|right|displaystyle|quad|[,;:!])|\$|\\(?=[ %])"), ""),
    (re.compile(r"\\[dt]frac"), r"\\frac"),
    (re.compile(r"\\frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}"), r"(\1)/(\2)"),
    (re.compile(r"\\(?:cdot|times)(?![A-Za-z])"), "*"),
    (re.compile(r"([_^])\{(\w)\}"), r"\1\2"),
    (re.compile(r"\((\w+)\)/\((\w+)\)"), r"\1/\2"),
    (re.compile(r"\s+"), ""),
)


def fold_latex(text: str) -> str:
    """LaTeX without what changes only its looks. Case stays: x and X may differ."""
    for pattern, replacement in _FOLDED:
        text = pattern.sub(replacement, text)
    return text.rstrip(".")


_ONLY_NUMBER: Final = re.compile(r"\\[dt]?frac|\\times|\\cdot|[-+\d\s.,/%{}\\$^×*eE()]")


def _same_number(said: str, wanted: str) -> bool:
    """Whether both are nothing but one number, and the same one."""
    if _ONLY_NUMBER.sub("", said) or _ONLY_NUMBER.sub("", wanted):
        return False
    mine, theirs = quantities(said), quantities(wanted)
    exact = Fraction(0)
    return len(mine) == len(theirs) == 1 and close(theirs[0], mine[0], relative=exact, absolute=exact)
