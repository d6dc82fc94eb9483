"""A trace as a tree: each span with the service it ran in, its time and its price."""

from collections.abc import Sequence
from pathlib import Path

from rich.text import Text
from rich.tree import Tree

from toolorchestra.cli.views.values import nano_usd, seconds
from toolorchestra.kit.traces import SpanNode, SpanRecord, build_tree, find_trace


def read_trace(folder: Path, trace_id: str) -> Tree | None:
    """The tree of a trace in a folder of span files; None when it is not there."""
    spans = find_trace(folder, trace_id)
    return trace_tree(build_tree(spans), trace_id) if spans else None


def trace_tree(roots: Sequence[SpanNode], trace_id: str) -> Tree:
    """One tree for the trace; its roots are usually one HTTP request."""
    tree = Tree(Text(f"trace {trace_id}", style="bold"))
    for root in roots:
        _grow(tree, root)
    return tree


def _grow(tree: Tree, node: SpanNode) -> None:
    branch = tree.add(_label(node.span))
    for child in node.children:
        _grow(branch, child)


def _label(span: SpanRecord) -> Text:
    label = Text.assemble(span.name, ("  " + seconds(span.duration_ms), "cyan"))
    if span.cost_nano_usd is not None:
        label.append(f"  {nano_usd(span.cost_nano_usd)}", style="green")
    label.append(f"  {span.service}", style="dim")
    if span.status == "error":
        label.append(f"  {span.message or 'error'}", style="red")
    return label
