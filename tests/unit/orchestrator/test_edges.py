"""Bodies, settings, direct calls and passed requests at their edges."""

import json
from types import SimpleNamespace

import pytest

from tests.unit.orchestrator.making import OK, RUN, asked, calls, finished, log, started, wish
from toolorchestra.core.errors import InvalidRequestError, NotFoundError
from toolorchestra.core.loop.journal import Denial, DeniedError
from toolorchestra.core.loop.state import fold
from toolorchestra.core.policies.protocol import Terms, View
from toolorchestra.core.resources import BudgetPolicySpec
from toolorchestra.core.revision import pin_expert
from toolorchestra.core.sessions import session_of
from toolorchestra.core.testing import a_catalog, a_revision, a_tool, an_expert
from toolorchestra.orchestrator.handlers.context import bearer, parse_body
from toolorchestra.orchestrator.services.budget import Budgets
from toolorchestra.orchestrator.services.direct import DirectCalls
from toolorchestra.orchestrator.services.directpolicy import DirectPolicy
from toolorchestra.orchestrator.services.passthrough import _request, _shorter, _worst
from toolorchestra.orchestrator.services.principal import Principal
from toolorchestra.orchestrator.settings import OrchestratorSettings
from toolorchestra.orchestrator.testing import FixedRegistry

MODEL = pin_expert(a_catalog(an_expert(timeout="60s")), "default", "expert", BudgetPolicySpec()).manager
CALLER = Principal("default", "key")


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe\x00", b"nope", b"[" * 200_000, b'{"a": ' * 200_000, b"9" * 5_000])
def test_a_body_that_is_no_json_is_refused(raw):
    with pytest.raises(InvalidRequestError):
        parse_body(raw)


def test_a_body_is_made_fit_to_be_stored_and_sent_on():
    found = parse_body(b'{"a": "x\\u0000y", "b": ["\\ud83d"], "c": NaN, "d": 1e999}')
    assert found == {"a": "x\ufffdy", "b": ["\ufffd"], "c": None, "d": None}
    json.dumps(found, ensure_ascii=False).encode()


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer  ", "Basic eA==", "to_a.secret"])
def test_a_missing_credential_is_refused_without_its_text(value):
    request = SimpleNamespace(headers={"authorization": value})
    with pytest.raises(Exception, match="no API key was sent") as caught:
        bearer(request)
    assert "secret" not in str(caught.value)


def test_the_scheme_of_a_credential_may_be_written_as_one_likes():
    assert bearer(SimpleNamespace(headers={"authorization": "bEaReR  to_a.b "})) == "to_a.b"


def settings(**fields):
    return OrchestratorSettings(database_url="postgresql:///x", key_pepper_file="/pepper", **fields)


def test_settings_hide_their_secrets_and_name_a_replica_anew():
    first = settings(broker_url="redis://:hunter2@127.0.0.1/0")
    assert "hunter2" not in repr(first)
    assert first.owner != settings().owner
    assert (first.host, first.signal_url) == ("127.0.0.1", None)


@pytest.mark.parametrize("fields", [{"lease_ms": 10}, {"port": 70_000}, {"database_connections": 1}, {"probe_interval_s": 0}])
def test_settings_outside_of_their_range_are_refused(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        settings(**fields)


@pytest.mark.parametrize(
    "fields",
    [{}, {"max_tokens": 10_000}, {"max_completion_tokens": 256, "max_tokens": 1}],
)
def test_a_passed_request_is_bounded_by_the_model(fields):
    request = _request(MODEL, wish(**fields), {"top_k": 3})
    assert request.max_tokens == 256
    assert request.timeout_ms == 60_000
    assert request.extra == {"top_k": 3}


def test_a_passed_request_may_be_shorter_in_words_and_time():
    extension = {"timeout_seconds": 2.5, "preference": {"maxLatency": "9s"}}
    request = _request(MODEL, wish(max_tokens=10, toolorchestra=extension), {})
    assert (request.max_tokens, request.timeout_ms) == (10, 2_500)


def denied(left_nano_usd, unit="nano_usd"):
    return DeniedError(Denial("h", "tenant", "day", left_nano_usd, 0, 0, unit=unit))


def test_a_passed_request_carries_its_session():
    assert session_of(_request(MODEL, wish(toolorchestra={"session": "library:1:a"}), {}).headers) == "library:1:a"
    assert _request(MODEL, wish(), {}).headers == {}


def test_a_refused_request_is_shortened_to_what_is_left():
    request = _request(MODEL, wish(), {})
    shorter = _shorter(request, MODEL, denied(_worst(request, MODEL) - 1))
    assert 16 <= shorter.max_tokens < 256
    assert _worst(shorter, MODEL) < _worst(request, MODEL)


@pytest.mark.parametrize("error", [denied(0), denied(10), denied(10**12, unit="requests"), denied(10**12)])
def test_a_request_that_cannot_be_shortened_stays_refused(error):
    assert _shorter(_request(MODEL, wish(), {}), MODEL, error) is None


@pytest.mark.parametrize("body", [None, [], {"arguments": []}, {"arguments": {}, "more": 1}, {"argumnts": {"query": "x"}}])
async def test_a_direct_call_takes_arguments_and_nothing_else(body):
    registry = FixedRegistry(a_catalog(a_tool("lookup")))
    direct = DirectCalls(registry, Budgets(registry, BudgetPolicySpec()), None, None)
    with pytest.raises(InvalidRequestError) as caught:
        await direct.call(CALLER, "lookup", body)
    assert caught.value.param == "arguments"


@pytest.mark.parametrize("session", ["", "with space", 5, "x" * 129])
async def test_a_direct_call_names_a_session_that_is_none(session):
    registry = FixedRegistry(a_catalog(a_tool("lookup")))
    direct = DirectCalls(registry, Budgets(registry, BudgetPolicySpec()), None, None)
    with pytest.raises(InvalidRequestError) as caught:
        await direct.call(CALLER, "lookup", {"arguments": {"query": "x"}, "session": session})
    assert caught.value.param == "session"


async def test_a_direct_call_of_what_the_key_may_not_use_is_not_found():
    registry = FixedRegistry(a_catalog(a_tool("lookup")))
    direct = DirectCalls(registry, Budgets(registry, BudgetPolicySpec()), None, None)
    for caller, name in ((CALLER, "other"), (Principal("default", "key", tools=("calc*",)), "lookup")):
        with pytest.raises(NotFoundError):
            await direct.call(caller, name, {})


async def test_a_direct_call_is_made_once_and_its_result_handed_on_from_facts_alone():
    opening = {"policy": "direct:lookup", "messages": ({"role": "user", "content": '{"query": "x"}'},)}
    revision = a_revision(a_tool("lookup"), an_expert())
    stored = log(asked(), calls("lookup", query="x"), started(1), finished(outcome=OK), **opening)
    first = await DirectPolicy().decide(View(fold(RUN, stored[:1]), revision, ()), Terms(max_tokens=0, timeout_ms=0))
    assert [(c.function, c.arguments) for c in first.decision.calls] == [("lookup", {"query": "x"})]
    second = await DirectPolicy().decide(View(fold(RUN, stored), revision, ()), Terms(max_tokens=0, timeout_ms=0))
    assert second.decision.answer_from == "1/1"
