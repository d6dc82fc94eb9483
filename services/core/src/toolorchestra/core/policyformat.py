"""The prompt format of managers that are trained here: one renderer, one strict parser, one version hash.

Tools stand in the prompt as one-line signatures. The manager's whole output is one of::

    call NAME {"argument": "value"}          (one line per call)
    answer_from TURN/ORDINAL                 (hand on that result word for word)
    answer TEXT                              (to the end)

optionally after one line ``think …``. Serving, training and evaluation use this module and nothing else, so a prompt
recorded in one place has the same bytes in the others.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from toolorchestra.core.errors import InvalidArgumentsError, InvalidRequestError
from toolorchestra.core.functions import Function
from toolorchestra.core.loop.facts import Decision, Intent
from toolorchestra.core.storable import parse_object

START: Final = "<|im_start|>"
STOP: Final = "<|im_end|>"
RULES: Final = (
    "Reply with `call NAME {json arguments}` (one line per call), `answer_from TURN/ORDINAL` to hand a result on, or "
    "`answer TEXT`. One line `think …` may come first."
)
_SIGNATURE: Final = "{name}({arguments}) - {description} [{tag}]"
_CALL: Final = re.compile(r"call ([A-Za-z0-9_-]{1,64}) (\{.*\})")
_FROM: Final = re.compile(r"answer_from ([0-9]{1,3}/[0-9]{1,3})")


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of the prompt. Only ``written`` ones are the manager's own: training takes its loss from them."""

    text: str
    written: bool = False


class FormatError(InvalidRequestError):
    """The manager's output does not follow the format."""

    code = "bad_format"


def signature(function: Function, tag: str) -> str:
    """One line: ``name(argument: type, optional?: type) - description [price, latency]``."""
    required = set(function.parameters.get("required", []))
    properties: dict[str, Any] = function.parameters.get("properties", {})
    arguments = ", ".join(f"{name}{'' if name in required else '?'}: {_type(schema)}" for name, schema in properties.items())
    line = _SIGNATURE.format(name=function.name, arguments=arguments, description=function.description, tag=tag)
    return inert(" ".join(line.split()))


def opening(instruction: str, signatures: Sequence[str], task: str) -> Segment:
    """The fixed start of a run: system text with tools, then the task."""
    system = "\n".join((inert(instruction), "", "Tools:", *signatures, "", RULES))
    return Segment(f"{START}system\n{system}{STOP}\n{START}user\n{inert(task)}{STOP}\n{START}assistant\n")


def beginning(function: str) -> str:
    """How an output begins that calls this function. Exploration writes it; the manager goes on with the arguments."""
    return f"call {function}"


def written(output: str) -> Segment:
    """The manager's own output as it was, so that a later prompt repeats its bytes. It cannot open or close a turn either."""
    return Segment(inert(output), written=True)


def results(observations: Sequence[tuple[str, str, str]], left: str) -> Segment:
    """Observations ``(call id, function, text)`` of one turn and what is left; the manager's next output follows."""
    lines = "\n".join(f"result {call_id} {name}: {inert(text)}" for call_id, name, text in observations)
    return Segment(f"{STOP}\n{START}user\n{lines}\n{left}{STOP}\n{START}assistant\n")


def render(segments: Sequence[Segment]) -> str:
    """The prompt as text."""
    return "".join(segment.text for segment in segments)


def parse(output: str) -> Decision:
    """The decision in a manager's output. Raises FormatError for anything that is not exactly the format."""
    text = output.removesuffix(STOP).strip()
    if text != inert(text):
        raise FormatError("the marks of turns are not the manager's to write", hint=RULES)
    thought = ""
    if text.startswith("think "):
        thought, _, text = text.removeprefix("think ").partition("\n")
    if text.startswith("answer "):
        return Decision(text=text.removeprefix("answer ").strip(), reasoning=thought)
    found = _FROM.fullmatch(text)
    if found is not None:
        return Decision(answer_from=found[1], reasoning=thought)
    return Decision(calls=tuple(_call(line) for line in text.split("\n")), reasoning=thought)


def output_of(decision: Decision) -> str:
    """The output that ``parse`` reads as this decision: for warm starts and for recorded traces."""
    thought = f"think {' '.join(decision.reasoning.split())}\n" if decision.reasoning else ""
    if decision.text is not None:
        return f"{thought}answer {decision.text}"
    if decision.answer_from is not None:
        return f"{thought}answer_from {decision.answer_from}"
    lines = (f"call {i.function} {json.dumps(i.arguments, ensure_ascii=False, sort_keys=True)}" for i in decision.calls)
    return thought + "\n".join(lines)


def inert(text: str) -> str:
    """Text that cannot open or close a turn: the marks of the format are broken by a zero-width space."""
    return text.replace("<|", "<\u200b|")


def _call(line: str) -> Intent:
    found = _CALL.fullmatch(line.strip())
    if found is None:
        raise FormatError(f"{line[:80]!r} is neither a call nor an answer", hint=RULES)
    try:
        return Intent(function=found[1], arguments=parse_object(found[2]))
    except InvalidArgumentsError as error:
        raise FormatError(f"{found[1]}: {error.message}", hint=RULES) from error


def _type(schema: Any) -> str:
    """The type of one argument as a schema states it: a name, or several."""
    stated = schema.get("type", "any") if isinstance(schema, dict) else "any"
    return "|".join(str(name) for name in stated) if isinstance(stated, list) else str(stated)


def _version() -> str:
    probe = opening("i", ["s"], "t").text + results([("1/1", "f", "o")], "[left]").text
    return hashlib.sha256(f"{probe}\n{_SIGNATURE}\n{RULES}\n{_CALL.pattern}\n{_FROM.pattern}".encode()).hexdigest()[:16]


FORMAT_HASH: Final = _version()
