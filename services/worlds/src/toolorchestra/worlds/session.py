"""A session: the private state of one episode, a fold of its calls.

Whoever has the calls has the session: ``Session.replay`` on another machine ends in the same state with the same results.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Self

from pydantic import JsonValue

from toolorchestra.core.errors import ToolOrchestraError
from toolorchestra.worlds.errors import BrokenToolError, ToolRefusal
from toolorchestra.worlds.state import Ref, Trace
from toolorchestra.worlds.tools import WorldTool
from toolorchestra.worlds.world import World


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call as it was asked for."""

    tool: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CallResult:
    """What a call came to.

    ``content`` is the JSON that the caller reads: the tool's, or ``{"error": {"code", "message"}}`` if it was refused (then
    ``error_code`` is set and nothing was changed). ``rows`` are those that the content shows. ``trace`` is what was touched.
    """

    ok: bool
    content: JsonValue
    rows: frozenset[Ref] = frozenset()
    error_code: str | None = None
    trace: Trace = field(default_factory=Trace)


class Session:
    """Executes calls one after the other. Raises BrokenToolError for a tool that fails by mistake, with its changes undone."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.database = world.database()
        self.calls: list[Call] = []
        self.results: list[CallResult] = []

    @classmethod
    def replay(cls, world: World, calls: Iterable[Call]) -> Self:
        """The session that these calls lead to."""
        session = cls(world)
        for call in calls:
            session.call(call.tool, call.arguments)
        return session

    def fork(self) -> "Session":
        """Another session that has played the same; each goes on alone."""
        other = Session(self.world)
        other.database = self.database.fork()
        other.calls, other.results = list(self.calls), list(self.results)
        return other

    @property
    def state_hash(self) -> int:
        """128 bits; equal for states that are to be taken for equal."""
        return self.database.hash

    @property
    def returned(self) -> frozenset[Ref]:
        """All rows that calls of this episode have shown."""
        return frozenset[Ref]().union(*(result.rows for result in self.results))

    def call(self, tool: str, arguments: Mapping[str, Any]) -> CallResult:
        """Execute one call. A refused one changes nothing, and stands in the history like any other."""
        result = self._execute(tool, arguments)
        self.calls.append(Call(tool, arguments))
        self.results.append(result)
        return result

    def _execute(self, name: str, arguments: Mapping[str, Any]) -> CallResult:
        tool = self.world.tools.get(name)
        if tool is None:
            return refused("unknown_tool", _unknown(name, self.world))
        trace = self.database.begin(name)
        try:
            content = tool.run(self.database, arguments)
            _keep_word(tool, trace)
        except ToolRefusal as refusal:
            self.database.rollback()
            return refused(refusal.code, refusal.message, trace)
        except ToolOrchestraError:
            self.database.rollback()
            raise
        except (Exception, SystemExit) as error:  # a world is other people's code; what it raises is theirs to mend
            self.database.rollback()
            raise BrokenToolError(f"tool {name!r} failed: {type(error).__name__}: {error}", param=name) from error
        shown = set(texts(content)) if trace.shown else ()
        rows = frozenset([ref for ref in trace.shown if ref[1] in shown])
        return CallResult(ok=True, content=content, rows=rows, trace=trace)


def _keep_word(tool: WorldTool, trace: Trace) -> None:
    if trace.writes and not tool.writes:
        raise BrokenToolError(f"tool {tool.name!r} is readOnly but writes", param=tool.name, hint="declare its side effects")


def refused(code: str, message: str, trace: Trace | None = None) -> CallResult:
    """The result of a call that was refused."""
    content: JsonValue = {"error": {"code": code, "message": message}}
    return CallResult(ok=False, content=content, error_code=code, trace=trace or Trace())


def texts(content: JsonValue) -> Iterator[str]:
    """All texts in a JSON value, apart from names of fields."""
    found: list[str] = []
    _add_texts(content, found)
    return iter(found)


def _add_texts(content: JsonValue, found: list[str]) -> None:
    if isinstance(content, str):
        found.append(content)
    elif isinstance(content, dict | list):
        for value in content.values() if isinstance(content, dict) else content:
            if isinstance(value, str):  # most are, and a call for each would cost more than the rest
                found.append(value)
            else:
                _add_texts(value, found)


def _unknown(name: str, world: World) -> str:
    close = get_close_matches(name, world.tools, n=1)
    return f"there is no tool {name!r}" + (f"; did you mean {close[0]!r}?" if close else "")
