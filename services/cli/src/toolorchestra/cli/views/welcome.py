"""What a person needs once a platform answers: address, key, names, and three lines of Python."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from toolorchestra.cli.views.values import text

OPTIONAL: Final = frozenset({"web-search"})  # shipped, but they need something that only a person has


def welcome(url: str, key: str, *, models: Sequence[Mapping[str, Any]], tools: Mapping[str, Any]) -> RenderableType:
    """Everything to point an OpenAI client at the platform."""
    names = [str(model.get("id")) for model in models]
    grid = Table.grid(padding=(0, 2))
    grid.add_row(Text("url", style="bold"), Text(f"{url}/v1"))
    grid.add_row(Text("key", style="bold"), Text(key))
    grid.add_row(Text("models", style="bold"), Text(text(names)))
    grid.add_row(Text("tools", style="bold"), Text(text([t["name"] for t in tools.get("data", []) if t.get("ready")])))
    return Group(grid, missing(tools), Text(snippet(url, key, names)))


def missing(tools: Mapping[str, Any]) -> Text:
    """Tools that are not ready and manifests that could not be read, each with what to do; then an empty line."""
    lines = Text()
    for tool in tools.get("data", []):
        if not tool.get("ready"):
            optional = tool.get("name") in OPTIONAL
            said = f"optional: {tool.get('name')} needs setting up" if optional else f"{tool.get('name')} is not ready"
            lines.append(f"{said}: {why_not(tool)}\n", style="dim" if optional else "yellow")
    for problem in faults(tools):
        lines.append(f"{problem.get('source')}: {problem.get('message')}\n", style="red")
    return lines


def why_not(tool: Mapping[str, Any]) -> str:
    """Why a tool is not ready, and what to do about it on this machine."""
    message = str(tool.get("message") or tool.get("reason") or "it was not tried yet")
    closed = tool.get("reason") == "EgressDenied" and "--allow-egress" not in message
    return f"{message}; here: `toolorchestra up --allow-egress HOST:PORT`" if closed else message


def faults(tools: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The problems that a person must mend: not those that only repeat why a tool is not ready."""
    known = [tool["message"] for tool in tools.get("data", []) if not tool.get("ready") and tool.get("message")]
    return [problem for problem in tools.get("problems", []) if not any(text in problem["message"] for text in known)]


def snippet(url: str, key: str, models: Sequence[str]) -> str:
    """Three lines for the OpenAI SDK."""
    model = "toolorchestra" if "toolorchestra" in models or not models else models[0]
    ask = f'client.chat.completions.create(model="{model}", messages=[{{"role": "user", "content": "What is 17 * 23?"}}])'
    return (
        "from openai import OpenAI\n"
        f'client = OpenAI(base_url="{url}/v1", api_key="{key}")\n'
        f"print({ask}.choices[0].message.content)"
    )
