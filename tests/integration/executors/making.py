"""Peers as processes, and the resources and calls that lead to them."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toolorchestra.core.calls import CallRequest
from toolorchestra.core.functions import ExpertTarget, Function, ToolTarget
from toolorchestra.core.pricing import Price
from toolorchestra.core.registry import DiscoveredOperation
from toolorchestra.core.resources import ExpertModel, Tool

PEERS = Path(__file__).parent / "peers"


@contextmanager
def process(*command: str) -> Iterator[str]:
    """A child that prints a line when it is ready, and ends when its standard input closes."""
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        yield child.stdout.readline().strip()
    finally:
        child.stdin.close()
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        child.stdout.close()


def peer(name: str, *arguments: str) -> list[str]:
    return [sys.executable, str(PEERS / f"{name}.py"), *arguments]


def make_tool(name: str = "tool", **spec: Any) -> Tool:
    return Tool.model_validate(
        {
            "apiVersion": "toolorchestra.dev/v1alpha1",
            "kind": "Tool",
            "metadata": {"name": name},
            "spec": {"description": "d", "sideEffects": "readOnly", **spec},
        }
    )


def make_expert(url: str, name: str = "sage", **spec: Any) -> ExpertModel:
    return ExpertModel.model_validate(
        {
            "apiVersion": "toolorchestra.dev/v1alpha1",
            "kind": "ExpertModel",
            "metadata": {"name": name},
            "spec": {"description": "d", "model": "counting", "endpoint": {"baseUrl": url}, **spec},
        }
    )


def tool_call(
    tool: Tool,
    arguments: Mapping[str, Any] | None = None,
    *,
    operation: DiscoveredOperation | None = None,
    timeout_ms: int = 5_000,
    **call: Any,
) -> CallRequest:
    target = ToolTarget(
        namespace=tool.metadata.namespace, name=tool.metadata.name, spec=tool.spec,
        operation=operation.name if operation else None, details=dict(operation.details) if operation else {},
    )  # fmt: skip
    function = Function(
        name=tool.metadata.name, description="d", target=target, side_effects=tool.spec.side_effects,
        parameters=dict(operation.parameters) if operation else tool.spec.parameters,
        execution="inline", price=Price(per_call=1_000), timeout_ms=timeout_ms, retries=tool.spec.retries,
    )  # fmt: skip
    return _call(function, arguments, timeout_ms, call)


def expert_call(
    expert: ExpertModel, question: str = "why?", *, timeout_ms: int = 5_000, max_tokens: int = 64, price: Price | None = None,
    **call: Any,
) -> CallRequest:  # fmt: skip
    function = Function(
        name=expert.metadata.name, description="d", parameters={}, target=expert_target(expert), side_effects="readOnly",
        execution="inline", price=price or Price(), timeout_ms=timeout_ms, max_output_tokens=max_tokens,
        simulated=expert.spec.simulated,
    )  # fmt: skip
    return _call(function, {"question": question}, timeout_ms, call)


def expert_target(expert: ExpertModel) -> ExpertTarget:
    assert expert.spec.endpoint is not None
    return ExpertTarget(
        namespace="default", name=expert.metadata.name, spec=expert.spec, base_url=expert.spec.endpoint.base_url,
        offer=expert.spec.offers[0].name,
    )  # fmt: skip


def _call(function: Function, arguments: Mapping[str, Any] | None, timeout_ms: int, more: Mapping[str, Any]) -> CallRequest:
    fields = {"call_id": "call-1", "run_id": "run-1", "tenant": "default", "attempt": 1, "idempotency_key": "run-1/1/1"}
    return CallRequest(**{**fields, **more}, function=function, arguments=arguments or {}, timeout_ms=timeout_ms)
