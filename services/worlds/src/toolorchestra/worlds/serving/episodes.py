"""The calls that an episode made to a world, from its run, to be judged by ``worlds.check.check``."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.core.loop.state import CallState, State
from toolorchestra.worlds.serving.manifests import world_tool
from toolorchestra.worlds.session import Call
from toolorchestra.worlds.world import World

RunDocument: TypeAlias = Mapping[str, Any]  # the JSON of GET /v1/runs/{id}


def calls_of(run: State | RunDocument, world: World, *, functions: Mapping[str, str] | None = None) -> list[Call]:
    """The calls to the world's tools, in order, from a state in memory or from the JSON of ``GET /v1/runs/{id}``.

    A call that never left the platform (refused arguments, no money, cancelled before it was made) is none. One whose outcome
    is not known counts: it may have had its effect. ``functions`` names the world's tools behind functions of other names.
    Raises InvalidRequestError for a document without its content.
    """
    made = _of_state(run) if isinstance(run, State) else _of_document(run)
    found = ((tool_of(name, world, functions), arguments) for name, arguments in made)
    return [Call(tool, arguments) for tool, arguments in found if tool is not None]


def tool_of(function: str, world: World, functions: Mapping[str, str] | None) -> str | None:
    """The world's tool behind a function's name."""
    return (functions or {}).get(function) or world_tool(function, world)


def _of_state(state: State) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for turn in state.turns:
        yield from ((call.intent.function, call.intent.arguments) for call in turn.calls if _left(call))


def _left(call: CallState) -> bool:
    return call.outcome is not None and call.outcome.sent


def _of_document(run: RunDocument) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for turn in run["turns"]:
        for call in turn["calls"]:
            if not call["sent"]:
                continue
            if call["arguments"] is None:
                raise InvalidRequestError(
                    f"run {run['id']}: the arguments of call {call['id']} are deleted", param="turns", hint="play it again"
                )
            yield call["function"], call["arguments"]
