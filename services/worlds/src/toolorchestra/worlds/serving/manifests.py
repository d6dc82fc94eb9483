"""A world's tools as resources of the platform, and the way back from a function's name to the tool of the world.

By plug-in every tool is a Tool of its own, ``railway-refund-ticket``; by MCP server one Tool has them all, and discovery makes
the functions ``railway__refund_ticket``. Names of resources know no ``_``, so there it is written ``-``.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from random import Random
from typing import Any, Final, Literal

from pydantic import ValidationError

from toolorchestra.core.functions import Function, SideEffects, ToolTarget
from toolorchestra.core.resources import Tool
from toolorchestra.core.resources.manifest import describe
from toolorchestra.core.resources.meta import API_VERSION, DEFAULT_NAMESPACE
from toolorchestra.worlds.errors import InvalidWorldError
from toolorchestra.worlds.world import World

PLUGIN: Final = "world"  # the entry point in the group ``toolorchestra.tools``
SEPARATOR: Final = "__"  # between an MCP Tool and its operation
FASTEST_MS, SLOWEST_MS = 50, 400
MAX_FUNCTION_NAME: Final = 64
_STRICTEST: Final[tuple[SideEffects, ...]] = ("destructive", "idempotent", "readOnly")


def tools_of(
    world: World,
    *,
    where: str | None = None,
    namespace: str = DEFAULT_NAMESPACE,
    execution: Literal["inline", "queued"] = "inline",
    prices: Mapping[str, str] | None = None,
    seed: int | None = None,
) -> list[Tool]:
    """One Tool per tool of the world, served by the plug-in.

    ``where`` is what the plug-in loads: a folder, or a name (default: the world's). ``prices``: US dollars per call by the
    tool's name in the world, default free. With a ``seed`` the typical latency that ``WorldExecutor`` draws from it is shown.
    Raises InvalidWorldError for a tool whose name no resource can have.
    """
    found = where if where is not None else world.name
    return [
        _tool(
            world,
            _plugin_name(world.name, tool.name),
            namespace=namespace,
            description=tool.description,
            parameters=dict(tool.parameters),
            plugin={"name": PLUGIN, "config": {"world": found, "tool": tool.name}},
            execution=execution,
            sideEffects=tool.side_effects,
            pricing={"perCall": (prices or {}).get(tool.name, "0")},
            **({} if seed is None else {"typicalLatency": f"{typical_ms(world.name, tool.name, seed)}ms"}),
        )
        for tool in world.tools.values()
    ]


def renamed(tools: Sequence[Tool], salt: str) -> tuple[list[Tool], dict[str, str]]:
    """Tools of a world under drawn names, which tell nothing, and by those names which tool of the world each is."""
    found = [(tool, f"fn-{_digest(f'{salt}/{tool.metadata.name}')}") for tool in tools]
    moved = [tool.model_copy(update={"metadata": tool.metadata.model_copy(update={"name": name})}) for tool, name in found]
    plugins = [tool.spec.plugin for tool in tools]
    return moved, {name: str(plugin.config["tool"]) for (_, name), plugin in zip(found, plugins, strict=True) if plugin}


def mcp_tool_of(
    world: World,
    url: str,
    *,
    namespace: str = DEFAULT_NAMESPACE,
    execution: Literal["inline", "queued"] = "inline",
    per_call_usd: str = "0",
) -> Tool:
    """The one Tool for the world's MCP server at ``url``. Its side effects are those of its most harmful tool.

    Raises InvalidWorldError for names that leave no room in a function's name.
    """
    name = _resource_name(world.name)
    for tool in world.tools:
        if len(f"{name}{SEPARATOR}{tool}") > MAX_FUNCTION_NAME:
            raise InvalidWorldError(
                f"tool {tool!r}: {name}{SEPARATOR}{tool} is no name of a function (64 letters at most)",
                param=tool,
                hint="shorten the name of the tool or of the world",
            )
    return _tool(
        world,
        name,
        namespace=namespace,
        description=f"{world.spec.title}: {world.spec.description}",
        mcp={"url": url},
        execution=execution,
        sideEffects=_strictest(world),
        pricing={"perCall": per_call_usd},
    )


def world_tool(function_name: str, world: World) -> str | None:
    """The world's tool that a function of either backend is; None for a function of something else."""
    own = _resource_name(world.name)
    if function_name.startswith(f"{own}{SEPARATOR}"):
        name = function_name.removeprefix(f"{own}{SEPARATOR}")
    else:
        name = function_name.removeprefix(f"{own}-").replace("-", "_") if function_name.startswith(f"{own}-") else ""
    return name if name in world.tools else None


def tool_behind(function: Function, world: World) -> str | None:
    """The same by where the function leads, so that functions of other names are known too."""
    target = function.target
    if not isinstance(target, ToolTarget):
        return None
    if target.spec.plugin is not None and target.spec.plugin.name == PLUGIN:
        return _known(target.spec.plugin.config.get("tool"), world)
    if target.spec.mcp is not None:
        return _known(target.details.get("remoteName") or target.operation, world)
    return None


def typical_ms(world: str, tool: str, seed: int) -> int:
    """The latency of a tool in episodes without services, in ms of the virtual clock: drawn once per seed, 50 to 400."""
    return Random(f"{seed}/{world}/{tool}/latency").randint(FASTEST_MS, SLOWEST_MS)


def _known(name: object, world: World) -> str | None:
    return name if isinstance(name, str) and name in world.tools else None


def _plugin_name(world: str, tool: str) -> str:
    return _resource_name(f"{world}-{tool}")


def _resource_name(name: str) -> str:
    return name.replace("_", "-")


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=5).hexdigest()


def _strictest(world: World) -> SideEffects:
    found = {tool.side_effects for tool in world.tools.values()}
    return next(effects for effects in _STRICTEST if effects in found)


def _tool(world: World, name: str, *, namespace: str, **spec: Any) -> Tool:
    labels = {"toolorchestra.dev/world": _resource_name(world.name)}
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    try:
        return Tool.model_validate({"apiVersion": API_VERSION, "kind": "Tool", "metadata": metadata, "spec": spec})
    except ValidationError as error:
        raise InvalidWorldError(
            f"world {world.name!r}: no Tool can be made of {name!r}: {describe(error)}", param=name
        ) from error
