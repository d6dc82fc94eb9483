"""What can go wrong with a world: with its files, with the code of its tools, and inside a call."""

from collections.abc import Iterator

from pydantic import ValidationError

from toolorchestra.core.errors import InvalidRequestError, ToolOrchestraError
from toolorchestra.core.problems import words_of

MAX_PROBLEMS = 5


class InvalidWorldError(InvalidRequestError):
    """A file of a world is missing or wrong; the message names file, field and fix."""

    code = "invalid_world"


class BrokenToolError(ToolOrchestraError):
    """A tool did what no tool may: raised by accident, or wrote a row that its table does not allow. An environment failure."""

    code = "broken_world_tool"


class ToolRefusal(Exception):  # noqa: N818 (an answer of a tool, not an error of ours)
    """How a tool says no, with the code and the words that a real API would use. It changes nothing."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def problems_of(error: ValidationError) -> Iterator[str]:
    """The first problems that pydantic found with a tool's arguments, in its words: managers have learnt from them."""
    for problem in error.errors(include_url=False)[:MAX_PROBLEMS]:
        place = ".".join(map(str, problem["loc"]))
        yield f"{place}: {problem['msg'].removeprefix('Value error, ')}" if place else problem["msg"]


def mistakes_of(error: ValidationError) -> Iterator[str]:
    """The first problems that pydantic found in what a person wrote, as ``field: what is wrong and what to do``."""
    for problem in error.errors(include_url=False)[:MAX_PROBLEMS]:
        place = ".".join(map(str, problem["loc"]))
        yield f"{place}: {words_of(problem)}" if place else words_of(problem)
