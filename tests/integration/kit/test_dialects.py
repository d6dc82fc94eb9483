"""Spans of real calls in OpenInference, as a backend gets them."""

import json
from pathlib import Path

from tests.integration.executors.making import expert_call, make_expert
from toolorchestra.executors.factory import open_toolbox
from toolorchestra.executors.testing import Behaviour, CountingProvider
from toolorchestra.executors.testing.provider import DEFAULT_PRICE
from toolorchestra.kit.egress import EgressGuard
from toolorchestra.kit.secrets import EnvironmentSecrets
from toolorchestra.kit.settings import Dialect, TelemetrySettings
from toolorchestra.kit.telemetry import build_telemetry
from toolorchestra.kit.traces import find_trace

TRACE = "0af7651916cd43dd8448eb211c80319c"


async def test_an_expert_that_was_asked_is_a_tool_span_over_a_model_span(tmp_path: Path) -> None:
    settings = TelemetrySettings(traces_folder=tmp_path, dialect=Dialect.OPENINFERENCE)
    telemetry = build_telemetry("svc", settings)
    tracer = telemetry.provider.get_tracer("test")
    with CountingProvider() as provider:
        provider.behave(Behaviour(text="Two moons."))
        headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
        async with open_toolbox(EgressGuard(["127.0.0.1"]), EnvironmentSecrets({}), tracer=tracer) as toolbox:
            outcome = await toolbox.executors.execute(
                expert_call(make_expert(provider.url), price=DEFAULT_PRICE, headers=headers)
            )
        (billed,) = provider.bill.entries
    telemetry.shutdown()

    tool, chat = find_trace(tmp_path, TRACE)

    assert (tool.attributes["openinference.span.kind"], tool.attributes["tool.name"]) == ("TOOL", "sage")
    assert tool.attributes["tool.id"] == "call-1"
    assert tool.cost_nano_usd == outcome.cost_nano_usd  # what the command line shows of a trace
    assert chat.parent_id == tool.span_id
    assert (chat.attributes["openinference.span.kind"], chat.attributes["llm.model_name"]) == ("LLM", "counting")
    counts = [chat.attributes[f"llm.token_count.{part}"] for part in ("prompt", "completion", "total")]
    assert counts == [billed.prompt_tokens, billed.output_tokens, billed.prompt_tokens + billed.output_tokens]
    assert chat.attributes["llm.cost.total"] == outcome.cost_nano_usd / 1e9
    assert json.loads(chat.attributes["llm.invocation_parameters"])["stream"] is True
    assert not [name for span in (tool, chat) for name in span.attributes if name.startswith("gen_ai.")]
