"""A session, named by the client, reaches every tool and model of its run, and nothing is sent without one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolorchestra.core.errors import InvalidRequestError
from toolorchestra.core.loop.context import PendingCall
from toolorchestra.core.loop.facts import Intent, Opened, dump, load
from toolorchestra.core.loop.memory import InlineRunner, run_episode
from toolorchestra.core.loop.state import CallPhase, CallState
from toolorchestra.core.openai import parse_request
from toolorchestra.core.sessions import SESSION_PATTERN, is_session, session_headers, session_of
from toolorchestra.core.testing import Say, ScriptedExecutor, ScriptedModels, Use, a_revision, a_tool, an_expert, an_opening

REVISION = a_revision(an_expert("boss"), a_tool("lookup"), an_expert("sage"), manager="boss")
USE = Use((("lookup", '{"query": "x"}'), ("sage", '{"question": "y"}')))


def asked(session):
    messages = [{"role": "user", "content": "Hello"}]
    return parse_request({"model": "m", "messages": messages, "toolorchestra": {"session": session}})


async def play(session):
    """What the manager and its tools were asked in a run, and its opening."""
    models, tools = ScriptedModels([USE, Say("done")]), ScriptedExecutor()
    state = await run_episode(an_opening(session=session), REVISION, models=models, executor=tools)
    return models.chats, tools.requests, state.run


@pytest.mark.parametrize("session", ["railway:railway-17:a1b2", "a", "A.b_c:d+e-f", "x" * 128])
def test_a_session_may_be_named_in_a_request(session):
    assert asked(session).toolorchestra.session == session


@pytest.mark.parametrize("session", ["", "x" * 129, "with space", "a,b", "a;b", "ü", "a\n", "../up", 5, {"name": "a"}])
def test_a_session_of_other_letters_is_refused_by_the_name_of_its_field(session):
    with pytest.raises(InvalidRequestError) as refused:
        asked(session)
    assert refused.value.param == "toolorchestra.session"
    assert "toolorchestra.session: must be" in str(refused.value)


async def test_it_reaches_the_manager_and_every_call():
    models, calls, opened = await play("library:task-1:x+y")
    assert opened.session == "library:task-1:x+y"
    assert [call.session for call in calls] == ["library:task-1:x+y"] * 2
    assert [session_of(request.headers) for request in (*models, *calls)] == ["library:task-1:x+y"] * 4


async def test_without_one_nothing_is_passed_on():
    models, calls, opened = await play(None)
    assert opened.session is None
    assert [call.session for call in calls] == [None, None]
    assert [dict(request.headers) for request in (*models, *calls)] == [{}] * 4


async def test_it_reaches_a_call_that_is_collected_later():
    tools, function = ScriptedExecutor(), REVISION.function("lookup")
    call = CallState(1, Intent(function="lookup", arguments={"query": "x"}), CallPhase.RUNNING, 1)
    await InlineRunner(tools).collect(PendingCall("run/1/1", function, call, 1_000, session="s:1:a"))
    (request,) = tools.requests
    assert (request.session, session_of(request.headers)) == ("s:1:a", "s:1:a")


def test_openings_stored_without_one_are_read_and_written_as_before():
    stored = dump(an_opening())
    assert "session" not in stored
    opened = load(stored)
    assert isinstance(opened, Opened)
    assert opened.session is None
    assert load(dump(an_opening(session="s"))).session == "s"


@given(st.from_regex(SESSION_PATTERN, fullmatch=True).map(str.strip).filter(is_session))
def test_a_session_comes_out_of_its_header_as_it_went_in(session):
    (header,) = session_headers(session).items()
    assert session_of(dict([header])) == session
    name, value = header
    assert session_of({name.title(): f"other=1;p=2, {value} ;p=3,more=4"}) == session, "among other entries, too"


@pytest.mark.parametrize("headers", [{}, {"baggage": ""}, {"baggage": "a=b"}, {"baggage": "toolorchestra.session="}])
def test_headers_without_a_session_have_none(headers):
    assert session_of(headers) is None
    assert session_headers(None) == {}
