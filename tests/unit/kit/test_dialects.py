"""The attributes of a span in OpenInference."""

import json

import pytest

from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.kit import semconv
from toolorchestra.kit.dialects import openinference
from toolorchestra.kit.settings import Dialect, Settings


@pytest.mark.parametrize(
    ("operation", "kind"),
    [("chat", "LLM"), ("text_completion", "LLM"), ("execute_tool", "TOOL"), ("invoke_agent", "AGENT"), (None, "CHAIN"), ("new", "CHAIN")],
)  # fmt: skip
def test_every_span_has_a_kind(operation, kind):
    attributes = {} if operation is None else {semconv.OPERATION_NAME: operation}
    assert openinference(attributes)["openinference.span.kind"] == kind


def test_the_model_that_answered_wins_over_the_one_that_was_asked():
    asked = {semconv.OPERATION_NAME: "chat", semconv.REQUEST_MODEL: "m", semconv.RESPONSE_MODEL: "m-2026"}
    found = openinference(asked)
    assert (found["llm.model_name"], found["llm.request.model_name"]) == ("m-2026", "m")
    assert openinference({semconv.REQUEST_MODEL: "m"})["llm.model_name"] == "m"


def test_costs_are_dollars_on_models_only_so_that_a_backend_may_add_them_up():
    cost = {semconv.COST_NANO_USD: 1_500_000_000}
    assert openinference({semconv.OPERATION_NAME: "chat", **cost})["llm.cost.total"] == 1.5
    for operation in ("execute_tool", "invoke_agent"):
        found = openinference({semconv.OPERATION_NAME: operation, **cost})
        assert "llm.cost.total" not in found
        assert found[semconv.COST_NANO_USD] == 1_500_000_000


def test_nothing_of_the_other_dialect_is_left_and_nothing_of_ours_is_lost():
    every = {value: "x" for name, value in vars(semconv).items() if name.isupper() and isinstance(value, str) and "." in value}
    found = openinference(every)
    assert not [name for name in found if name.startswith("gen_ai.")]
    assert {name for name in every if name.startswith(("toolorchestra.", "error."))} <= set(found)


def test_parameters_of_a_request_are_one_json_text():
    found = openinference({semconv.OPERATION_NAME: "chat", semconv.REQUEST_SEED: 7, semconv.REQUEST_STREAM: True})
    assert json.loads(found["llm.invocation_parameters"]) == {"seed": 7, "stream": True}


def test_the_dialect_is_one_of_two(monkeypatch):
    assert Settings.load().telemetry.dialect is Dialect.GEN_AI
    monkeypatch.setenv("TOOLORCHESTRA_TELEMETRY__DIALECT", "openinference")
    assert Settings.load().telemetry.dialect is Dialect.OPENINFERENCE
    monkeypatch.setenv("TOOLORCHESTRA_TELEMETRY__DIALECT", "openllmetry")
    with pytest.raises(InvalidRequestError, match=r"TOOLORCHESTRA_TELEMETRY__DIALECT: .*'gen_ai' or 'openinference'"):
        Settings.load()
