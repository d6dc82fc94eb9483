"""A world's tools, served: as Tools of the platform (by plug-in or MCP server), and in memory for episodes without services."""

from toolorchestra.worlds.serving.episodes import calls_of
from toolorchestra.worlds.serving.executing import WorldExecutor
from toolorchestra.worlds.serving.finding import served_world
from toolorchestra.worlds.serving.log import SessionLog, log_of, sessions_folder
from toolorchestra.worlds.serving.manifests import mcp_tool_of, renamed, tool_behind, tools_of, typical_ms, world_tool

__all__ = [
    "SessionLog",
    "WorldExecutor",
    "calls_of",
    "log_of",
    "mcp_tool_of",
    "renamed",
    "served_world",
    "sessions_folder",
    "tool_behind",
    "tools_of",
    "typical_ms",
    "world_tool",
]
