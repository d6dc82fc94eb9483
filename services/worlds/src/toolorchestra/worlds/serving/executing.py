"""A world's tools as an executor of the core, for episodes in memory: the same contents as on the platform, virtual time."""

import json

from pydantic import JsonValue
from typing_extensions import override

from toolorchestra.core.calls import CallRequest, Executor, Outcome, Status
from toolorchestra.core.errors import InvalidManifestError
from toolorchestra.core.functions import ToolTarget
from toolorchestra.core.pricing import cost
from toolorchestra.worlds.errors import BrokenToolError
from toolorchestra.worlds.serving.manifests import tool_behind, typical_ms, world_tool
from toolorchestra.worlds.session import CallResult, Session
from toolorchestra.worlds.world import World

REFUSED = "tool_error"  # the error code of a call that the tool refused, whichever way it is served


class WorldExecutor(Executor):
    """Plays one session of a world. ``seed`` draws the latency of each tool, 50 to 400 ms.

    A call that the tool refuses is an outcome with status ``error`` whose content is the JSON of the refusal; so is one of a
    tool that fails by mistake, with the error code ``broken_world_tool``: a failure of the environment.
    """

    def __init__(self, world: World, session: Session | None = None, *, seed: int = 0) -> None:
        self.world = world
        self.session = session if session is not None else Session(world)
        self._seed = seed
        self._done: dict[str, Outcome] = {}

    @override
    async def execute(self, call: CallRequest) -> Outcome:
        """The outcome; a further attempt of a call gets that of the first. Raises InvalidManifestError for any other."""
        tool = tool_behind(call.function, self.world) or world_tool(call.function.name, self.world)
        if tool is None:
            raise InvalidManifestError(
                f"{call.function.name} is no tool of the world {self.world.name!r}", param="function", hint="see tools_of"
            )
        if call.attempt == 1 or call.idempotency_key not in self._done:
            self._done[call.idempotency_key] = self._play(tool, call)
        return self._done[call.idempotency_key]

    def _play(self, tool: str, call: CallRequest) -> Outcome:
        latency_ms = typical_ms(self.world.name, tool, self._seed)
        try:
            result = self.session.call(tool, call.arguments)
        except BrokenToolError as error:
            return Outcome(status=Status.ERROR, content=str(error), error_code=error.code, latency_ms=latency_ms)
        content, cut = _clip(text_of(result.content), call)
        return Outcome(
            status=Status.OK if result.ok else Status.ERROR,
            content=content,
            truncated=cut,
            error_code=None if result.ok else REFUSED,
            cost_nano_usd=cost(call.function.price, milliseconds=latency_ms),
            latency_ms=latency_ms,
            details=details_of(self.world, result),
        )


def text_of(content: JsonValue) -> str:
    """A result as the model reads it: JSON, or a text as it is."""
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)


def details_of(world: World, result: CallResult) -> dict[str, JsonValue]:
    """What a result says to people, and never to a model."""
    return {"world": world.name, **({} if result.error_code is None else {"refusal": result.error_code})}


def _clip(text: str, call: CallRequest) -> tuple[str, bool]:
    """The text cut to what its Tool keeps, in whole characters, and whether it was cut."""
    target = call.function.target
    raw = text.encode()
    if not isinstance(target, ToolTarget) or len(raw) <= target.spec.max_result_bytes:
        return text, False
    return raw[: target.spec.max_result_bytes].decode(errors="ignore"), True
