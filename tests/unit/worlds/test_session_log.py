"""The log of sessions: whoever gets the next call goes on where the last one stopped, and nothing is played twice."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.library import GOLDEN, LIBRARY, task
from toolorchestra.core.errors import ConflictError, InvalidManifestError, InvalidRequestError, UnavailableError
from toolorchestra.core.plugins import PluginContext
from toolorchestra.worlds.check import golden_end
from toolorchestra.worlds.loading import load_definition, load_world
from toolorchestra.worlds.serving import SessionLog, log_of, sessions_folder
from toolorchestra.worlds.serving.log import SessionMissingError
from toolorchestra.worlds.serving.plugin import RefusedCallError, create
from toolorchestra.worlds.session import Call, Session

WORLD = load_world(LIBRARY)
NAME = "library:library-1:a1"
PAY = Call("pay_fine", {"member_id": "ME-100", "amount": "1.00"})
FIND = Call("find_member", {"email": "ada@post.example"})
CHILD = """
import sys
from pathlib import Path
from toolorchestra.worlds.loading import load_world
from toolorchestra.worlds.serving import SessionLog
from toolorchestra.worlds.session import Call
log, world = SessionLog(Path(sys.argv[1])), load_world(sys.argv[2])
for n in range(int(sys.argv[4])):
    log.call(world, "shared", Call("pay_fine", {"member_id": "ME-100", "amount": "0.01"}), owner="acme", key=f"{sys.argv[3]}/{n}")
"""


def play(log, *calls, session=NAME, owner="acme", key=""):
    return [log.call(WORLD, session, call, owner=owner, key=key) for call in calls]


def fines(session):
    (row,) = [row for row in session.database.rows("members") if row["member_id"] == "ME-100"]
    return row["fines"]


def file_of(log, session=NAME):
    return log.path(WORLD, session, owner="acme")


def test_a_session_goes_on_in_another_process(tmp_path):
    """Two logs of one folder are two processes: neither knows what the other has in memory."""
    logs = SessionLog(tmp_path), SessionLog(tmp_path)
    for place, one in enumerate(GOLDEN):
        assert play(logs[place % 2], one.call)[0].ok
    for log in (*logs, SessionLog(tmp_path)):
        session = log.session(WORLD, NAME, owner="acme")
        assert session.calls == [one.call for one in GOLDEN]
        assert session.state_hash == golden_end(WORLD, task())


def test_a_line_is_a_call_and_the_first_names_the_world(tmp_path):
    log = SessionLog(tmp_path)
    play(log, FIND, Call("lend", {}), key="")
    lines = [json.loads(line) for line in file_of(log).read_text().splitlines()]
    assert lines[0] == {"world": "library", "content": WORLD.content_hash}
    assert lines[1:] == [
        {"key": "", "tool": "find_member", "arguments": {"email": "ada@post.example"}},
        {"key": "", "tool": "lend", "arguments": {}},
    ], "a refused call stands in the log like any other"


def test_a_repeated_attempt_does_not_apply_twice(tmp_path):
    first, second = SessionLog(tmp_path), SessionLog(tmp_path)
    (paid,) = play(first, PAY, key="run-1/1/1")
    (again,) = play(second, PAY, key="run-1/1/1")
    assert (again.ok, again.content) == (paid.ok, paid.content)
    assert first.session(WORLD, NAME, owner="acme").calls == [PAY]
    play(second, PAY, key="run-1/2/1")
    assert first.session(WORLD, NAME, owner="acme").calls == [PAY, PAY]


def test_the_key_of_one_call_cannot_name_another(tmp_path):
    log = SessionLog(tmp_path)
    play(log, PAY, key="run-1/1/1")
    with pytest.raises(ConflictError, match="'run-1/1/1' was used for another call"):
        play(log, FIND, key="run-1/1/1")


def test_sessions_of_other_names_and_tenants_are_others(tmp_path):
    log = SessionLog(tmp_path)
    play(log, PAY)
    play(log, PAY, PAY, session="library:library-1:A1")
    play(log, owner="other")
    assert fines(log.session(WORLD, NAME, owner="acme")) == 250
    assert fines(log.session(WORLD, "library:library-1:A1", owner="acme")) == 150
    assert fines(log.session(WORLD, NAME, owner="other")) == 350
    assert len({path.name.casefold() for path in tmp_path.rglob("*.jsonl")}) == 2, "also where letters' case is nothing"


def test_what_was_written_in_half_is_no_call(tmp_path):
    log = SessionLog(tmp_path)
    play(log, PAY)
    with file_of(log).open("ab") as file:
        file.write(b'{"key":"","tool":"pay_fi')
    play(log, FIND)
    assert SessionLog(tmp_path).session(WORLD, NAME, owner="acme").calls == [PAY, FIND]


@pytest.mark.parametrize("line", ["no json", "[]", '{"tool": "lend"}'])
def test_a_line_that_is_no_call_is_an_error(tmp_path, line):
    log = SessionLog(tmp_path)
    play(log, PAY)
    with file_of(log).open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(ConflictError, match="holds a line that is no call"):
        play(log, FIND)


def test_a_log_that_is_deleted_begins_anew(tmp_path):
    log = SessionLog(tmp_path)
    play(log, PAY, PAY)
    file_of(log).unlink()
    play(log, FIND)
    assert log.session(WORLD, NAME, owner="acme").calls == [FIND]


def test_a_session_of_other_rows_is_refused(tmp_path):
    play(SessionLog(tmp_path), PAY)
    definition = load_definition(LIBRARY)
    changed = definition.world({table: list(WORLD.database().rows(table)) for table in WORLD.spec.tables}, content_hash="new")
    with pytest.raises(ConflictError, match="had other files"):
        SessionLog(tmp_path).call(changed, NAME, FIND, owner="acme")


def test_a_call_outside_of_a_session_says_what_to_send(tmp_path):
    with pytest.raises(SessionMissingError, match=r'send "toolorchestra": \{"session"') as refused:
        play(SessionLog(tmp_path), FIND, session=None)
    assert refused.value.param == "session"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../up", "", "a/b", "x" * 129])
def test_a_session_cannot_name_a_file_elsewhere(tmp_path, name):
    with pytest.raises(InvalidRequestError, match="must be 1 to 128 of"):
        play(SessionLog(tmp_path), FIND, session=name)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match=r"sessions cannot be kept there.*TOOLORCHESTRA_WORLD_SESSIONS"):
        play(SessionLog(tmp_path / "file"), FIND)


def test_memory_holds_the_newest_sessions_and_folds_the_others_again(tmp_path):
    log = SessionLog(tmp_path, keep=2)
    names = [f"session-{n}" for n in range(5)]
    for _ in range(2):
        for name in names:
            play(log, PAY, session=name)
    assert [fines(log.session(WORLD, name, owner="acme")) for name in names] == [150] * 5


def test_threads_and_processes_that_share_a_session_lose_nothing(tmp_path):
    children = [
        subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path), str(LIBRARY), name, "20"]) for name in ("one", "two")
    ]
    cent = Call("pay_fine", {"member_id": "ME-100", "amount": "0.01"})
    log = log_of(tmp_path)
    with ThreadPoolExecutor(4) as threads:
        for paid in threads.map(lambda n: log.call(WORLD, "shared", cent, owner="acme", key=f"here/{n}"), range(20)):
            assert paid.ok
    assert [child.wait(60) for child in children] == [0, 0]
    session = log.session(WORLD, "shared", owner="acme")
    assert len(session.calls) == 60
    assert fines(session) == 350 - 60


def test_the_folder_is_the_one_that_was_named(tmp_path, monkeypatch):
    monkeypatch.setenv("TOOLORCHESTRA_WORLD_SESSIONS", str(tmp_path / "here"))
    assert sessions_folder() == tmp_path / "here"
    monkeypatch.delenv("TOOLORCHESTRA_WORLD_SESSIONS")
    assert str(os.getuid()) in sessions_folder().name


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    monkeypatch.setenv("TOOLORCHESTRA_WORLD_SESSIONS", str(tmp_path))
    return lambda tool, world=str(LIBRARY): create({"world": world, "tool": tool})


def context(session=NAME, key="run-1/1/1"):
    return PluginContext(call_id=key, tenant="acme", timeout_ms=1_000, idempotency_key=key, session=session)


async def test_plug_ins_of_one_world_share_its_sessions(plugin, tmp_path):
    for place, one in enumerate(GOLDEN):
        result = await plugin(one.tool).run(one.arguments, context(key=f"run-1/{place}/1"))
        assert result.details == {"world": "library"}
    session = SessionLog(tmp_path).session(WORLD, NAME, owner="acme")
    assert session.state_hash == golden_end(WORLD, task())
    assert result.content == json.dumps(session.results[-1].content, ensure_ascii=False)


async def test_a_refusal_reaches_the_model_as_its_json(plugin):
    with pytest.raises(RefusedCallError) as refused:
        await plugin("find_member").run({"email": "nobody@post.example"}, context())
    assert json.loads(str(refused.value)) == Session(WORLD).call("find_member", {"email": "nobody@post.example"}).content
    with pytest.raises(SessionMissingError):
        await plugin("find_member").run({"email": "ada@post.example"}, context(session=None))


async def test_a_plug_in_is_ready_when_its_world_has_its_tool(plugin):
    assert (await plugin("lend").check({})).ready
    missing = await plugin("fly").check({})
    assert (missing.ready, missing.reason) == (False, "NoSuchTool")
    assert "correct spec.plugin.config.tool: find_member" in missing.message
    nowhere = await plugin("lend", "atlantis").check({})
    assert (nowhere.ready, nowhere.reason) == (False, "WorldUnavailable")


@pytest.mark.parametrize(
    ("config", "named"),
    [({}, "world"), ({"world": "library"}, "tool"), ({"world": "library", "tool": "lend", "speed": 1}, "speed")],
)
def test_settings_that_are_wrong_are_named(config, named):
    with pytest.raises(InvalidManifestError, match=r"spec\.plugin\.config") as refused:
        create(config)
    assert refused.value.param == f"spec.plugin.config.{named}"
