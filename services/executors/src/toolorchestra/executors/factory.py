"""Builds the executors of one process; the only place that knows how they hang together."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from opentelemetry import trace

from toolorchestra.core.calls import SecretReader
from toolorchestra.executors.chat import ChatClient
from toolorchestra.executors.dispatch import Executors
from toolorchestra.executors.expert import ExpertExecutor
from toolorchestra.executors.http import HttpExecutor, HttpSender
from toolorchestra.executors.late import LateMcp
from toolorchestra.executors.openapi import OpenApiDiscovery, OpenApiExecutor
from toolorchestra.executors.plugin import PluginExecutor, Plugins
from toolorchestra.executors.probe import Prober
from toolorchestra.executors.slots import Slots
from toolorchestra.kit.egress import EgressGuard


@dataclass(frozen=True, slots=True)
class Toolbox:
    """What a process needs to call and to probe tools and models."""

    executors: Executors
    models: ChatClient
    prober: Prober


@asynccontextmanager
async def open_toolbox(
    guard: EgressGuard,
    secrets: SecretReader,
    *,
    allow_stdio: bool = False,
    tracer: trace.Tracer | None = None,
) -> AsyncIterator[Toolbox]:
    """Builds everything, and closes its connections at the end. ``allow_stdio``: for manifests read from files only."""
    slots = Slots()
    async with AsyncExitStack() as stack:
        sender = HttpSender(guard)
        stack.push_async_callback(sender.aclose)
        mcp = LateMcp(guard, secrets, allow_stdio=allow_stdio)
        stack.push_async_callback(mcp.aclose)
        models = ChatClient(guard, secrets, slots=slots, tracer=tracer)
        stack.push_async_callback(models.aclose)
        plugins = Plugins(secrets)
        executors = Executors(
            {
                "http": HttpExecutor(sender, secrets),
                "openapi": OpenApiExecutor(sender, secrets),
                "mcp": mcp,
                "plugin": PluginExecutor(plugins),
            },
            ExpertExecutor(models),
            slots=slots,
            tracer=tracer,
        )
        prober = Prober(guard, secrets, openapi=OpenApiDiscovery(guard, secrets), mcp=mcp, plugins=plugins)
        yield Toolbox(executors, models, prober)
