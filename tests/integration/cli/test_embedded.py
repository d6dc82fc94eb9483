"""The embedded parts, each as a real process: they start, answer, keep their data, stop, and stay on this machine."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
import redis

from toolorchestra.cli.embedded.local_model import local_model_part
from toolorchestra.cli.embedded.parts import Part
from toolorchestra.cli.embedded.postgres import MAX_SOCKET_PATH, SOCKET_NAME, postgres_part, socket_folder
from toolorchestra.cli.embedded.state import PlatformState, running_platform
from toolorchestra.cli.embedded.supervisor import PartFailedError, Supervisor
from toolorchestra.cli.embedded.valkey import valkey_part
from toolorchestra.core.errors import ConflictError


@pytest.fixture
def platform_folder() -> Iterator[Path]:
    """A folder for a platform, where servers of another user may reach it."""
    folder = Path(tempfile.mkdtemp(prefix="to-embedded-"))
    yield folder / ".toolorchestra"
    shutil.rmtree(folder)


def pids_of(folder: Path) -> list[int]:
    state = PlatformState.load(folder)
    assert state is not None
    return [part.pid for part in state.parts.values()]


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def eventually(condition: Callable[[], bool], *, within_s: float = 10) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.02)


def script(text: str) -> tuple[str, ...]:
    return (sys.executable, "-c", textwrap.dedent(text))


async def test_postgres_keeps_its_data_between_starts(platform_folder):
    part = postgres_part(platform_folder / "postgres")
    async with Supervisor(platform_folder) as supervisor:
        await supervisor.start(part)
        with psycopg.connect(part.url) as connection:
            connection.execute("CREATE TABLE kept (value int)")
            connection.execute("INSERT INTO kept VALUES (42)")
        (pid,) = pids_of(platform_folder)
    assert is_gone(pid)
    async with Supervisor(platform_folder) as supervisor:
        await supervisor.start(postgres_part(platform_folder / "postgres"))
        with psycopg.connect(part.url) as connection:
            assert connection.execute("SELECT value FROM kept").fetchone() == (42,)


async def test_postgres_promises_what_it_ships_with(platform_folder):
    part = postgres_part(platform_folder / "postgres", settings={"work_mem": "7MB"})
    async with Supervisor(platform_folder) as supervisor:
        await supervisor.start(part)
        with psycopg.connect(part.url) as connection:
            names = ("fsync", "synchronous_commit", "full_page_writes", "data_checksums", "server_encoding", "work_mem")
            found = {name: connection.execute(f"SHOW {name}").fetchone()[0] for name in names}
            assert connection.info.server_version // 10_000 == 18
    assert found == {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "data_checksums": "on",
        "server_encoding": "UTF8",
        "work_mem": "7MB",
    }


async def test_postgres_starts_again_after_its_server_was_killed(platform_folder):
    part = postgres_part(platform_folder / "postgres")
    async with Supervisor(platform_folder) as supervisor:
        await supervisor.start(part)
        with psycopg.connect(part.url) as connection:
            connection.execute("CREATE TABLE kept (value int)")
        os.kill(pids_of(platform_folder)[0], signal.SIGKILL)
        with pytest.raises(PartFailedError, match="postgres ended with status -9"):
            await supervisor.wait()
    pid_file = platform_folder / "postgres" / "data" / "postmaster.pid"
    assert pid_file.exists()
    pid_file.write_text(pid_file.read_text().replace(pid_file.read_text().split()[0], str(os.getpid()), 1))
    async with Supervisor(platform_folder) as supervisor:
        await supervisor.start(part)
        with psycopg.connect(part.url) as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


async def test_postgres_works_below_a_path_too_long_for_a_socket(platform_folder):
    folder = platform_folder / ("long" * 30) / "postgres"
    part = postgres_part(folder)
    async with Supervisor(platform_folder) as supervisor:
        await supervisor.start(part)
        with psycopg.connect(part.url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    assert len(os.fsencode(socket_folder(folder) / SOCKET_NAME)) <= MAX_SOCKET_PATH
    shutil.rmtree(socket_folder(folder))


async def test_valkey_keeps_its_data_and_its_url_between_starts(platform_folder):
    part = valkey_part(platform_folder / "valkey")
    async with Supervisor(platform_folder) as supervisor:
        await supervisor.start(part)
        with redis.Redis.from_url(part.url) as client:
            client.lpush("queue", "kept")
    again = valkey_part(platform_folder / "valkey")
    assert again.url == part.url
    async with Supervisor(platform_folder) as supervisor:
        await supervisor.start(again)
        with redis.Redis.from_url(part.url) as client:
            assert client.lrange("queue", 0, -1) == [b"kept"]


async def test_valkey_answers_nobody_without_its_password(platform_folder):
    part = valkey_part(platform_folder / "valkey")
    async with Supervisor(platform_folder) as supervisor:
        await supervisor.start(part)
        port = part.url.rpartition(":")[2].partition("/")[0]
        with redis.Redis(port=int(port), retry=None) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
    readable_by_others = [path for path in (platform_folder / "valkey").iterdir() if path.stat().st_mode & 0o077]
    assert readable_by_others == []


async def test_the_local_model_answers_a_question(platform_folder):
    part = local_model_part()
    async with Supervisor(platform_folder) as supervisor, httpx.AsyncClient(trust_env=False, timeout=60) as client:
        await supervisor.start(part)
        question = {"role": "user", "content": "What is the capital of France?"}
        body = {"messages": [question], "temperature": 0, "max_tokens": 32}
        answer = (await client.post(f"{part.url}/chat/completions", json=body)).json()
    assert "Paris" in answer["choices"][0]["message"]["content"]
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] > 0


async def test_a_file_that_is_no_model_is_named_in_the_error(platform_folder, tmp_path):
    (tmp_path / "broken.gguf").write_bytes(b"not a model")
    with pytest.raises(PartFailedError, match=r"(?s)local-model ended with status 1.*broken\.gguf cannot be served"):
        async with Supervisor(platform_folder) as supervisor:
            await supervisor.start(local_model_part(model=tmp_path / "broken.gguf"))


async def test_nothing_listens_beyond_loopback(platform_folder):
    parts = [
        postgres_part(platform_folder / "postgres"),
        valkey_part(platform_folder / "valkey"),
        local_model_part(),
    ]
    async with Supervisor(platform_folder) as supervisor:
        await supervisor.start(*parts)
        family = [child for pid in pids_of(platform_folder) for child in _with_children(pid)]
        listening = {address for process in family for address in _listening(process)}
    assert listening == {"127.0.0.1"}


def _with_children(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _listening(process: psutil.Process) -> set[str]:
    """Addresses on which a process listens; a helper of PostgreSQL may have ended meanwhile."""
    try:
        return {one.laddr.ip for one in psutil.net_connections() if (one.pid, one.status) == (process.pid, psutil.CONN_LISTEN)}
    except psutil.NoSuchProcess:
        return set()


async def test_a_second_command_finds_the_platform_and_cannot_start_another(platform_folder):
    async with Supervisor(platform_folder) as supervisor:
        await supervisor.start(Part(name="idle", argv=("sleep", "60"), url="http://127.0.0.1:1"))
        supervisor.announce("api", "http://127.0.0.1:8080")
        found = running_platform(platform_folder)
        with pytest.raises(ConflictError, match=f"already runs in .*process {os.getpid()}"):
            await Supervisor(platform_folder).__aenter__()
    assert found is not None
    assert (found.pid, found.urls, found.parts["idle"].url) == (
        os.getpid(),
        {"api": "http://127.0.0.1:8080"},
        "http://127.0.0.1:1",
    )
    assert running_platform(platform_folder) is None


async def test_the_state_file_is_private(platform_folder):
    async with Supervisor(platform_folder) as supervisor:
        await supervisor.start(Part(name="idle", argv=("sleep", "60")))
        assert (platform_folder / "state.json").stat().st_mode & 0o777 == 0o600
        assert platform_folder.stat().st_mode & 0o077 == 0


async def test_a_part_that_ends_at_once_is_reported_with_its_log(platform_folder):
    broken = Part(name="broken", argv=script("print('no such port'); raise SystemExit(3)"), ready=never_ready)
    with pytest.raises(PartFailedError, match=r"(?s)broken ended with status 3 before it was ready.*no such port"):
        async with Supervisor(platform_folder) as supervisor:
            await supervisor.start(broken)


async def test_a_part_that_never_gets_ready_is_reported_and_the_others_stop(platform_folder):
    idle = Part(name="idle", argv=("sleep", "60"))
    slow = Part(name="slow", argv=("sleep", "60"), ready=never_ready)
    async with Supervisor(platform_folder, startup_ms=300) as supervisor:
        with pytest.raises(PartFailedError, match=r"slow was not ready after 0\.3 s"):
            await supervisor.start(idle, slow)
        pids = pids_of(platform_folder)
    assert all(is_gone(pid) for pid in pids)


async def test_a_port_that_is_taken_while_the_part_starts_is_named_with_the_fix(platform_folder):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        late = script(f"import socket; socket.create_server(('127.0.0.1', {port}))")
        with pytest.raises(PartFailedError, match="ended with status 1") as caught:
            async with Supervisor(platform_folder) as supervisor:
                await supervisor.start(Part(name="late", argv=late, port=port))
    assert caught.value.hint == f"port {port} is taken; choose another with --port"


async def test_another_servers_answer_does_not_make_a_part_ready(platform_folder):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        deaf = Part(name="deaf", argv=("sleep", "60"), port=other.getsockname()[1])
        async with Supervisor(platform_folder, startup_ms=300) as supervisor:
            with pytest.raises(PartFailedError, match="deaf was not ready") as caught:
                await supervisor.start(deaf)
    assert caught.value.hint == f"port {deaf.port} is taken; choose another with --port"


async def never_ready() -> bool:
    return False


async def test_parts_stop_in_reverse_order_and_a_deaf_one_is_killed(platform_folder, tmp_path):
    order = tmp_path / "order"
    says = """
        import pathlib, signal, sys
        def end(*_):
            with open({order!r}, "a") as file: file.write({name!r} + " ")
            sys.exit(0) if {obeys} else None
        signal.signal(signal.SIGTERM, end)
        pathlib.Path({ready!r}).touch()
        while True: signal.pause()
    """

    def part(name: str, *, obeys: bool) -> Part:
        ready = tmp_path / name
        text = says.format(order=str(order), name=name, obeys=obeys, ready=str(ready))

        async def is_ready() -> bool:
            return ready.exists()

        return Part(name=name, argv=script(text), ready=is_ready, grace_ms=300)

    async with Supervisor(platform_folder) as supervisor:
        await supervisor.start(part("first", obeys=True))
        await supervisor.start(part("deaf", obeys=False))
        await supervisor.start(part("last", obeys=True))
        pids = pids_of(platform_folder)
    assert order.read_text().split() == ["last", "deaf", "first"]
    assert all(is_gone(pid) for pid in pids)


COMMAND = """
    import asyncio, pathlib
    from toolorchestra.cli.embedded.postgres import postgres_part
    from toolorchestra.cli.embedded.supervisor import Supervisor
    from toolorchestra.cli.embedded.valkey import valkey_part

    async def main():
        folder = pathlib.Path({folder!r})
        async with Supervisor(folder) as supervisor:
            await supervisor.start(postgres_part(folder / "postgres"), valkey_part(folder / "valkey"))
            supervisor.announce("ready", "yes")
            print((await supervisor.wait()).name, flush=True)

    asyncio.run(main())
"""


@pytest.fixture
def command(platform_folder) -> Iterator[subprocess.Popen[str]]:
    """A platform run by a command of its own, as `toolorchestra up` does."""
    process = subprocess.Popen(script(COMMAND.format(folder=str(platform_folder))), stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


def _is_up(folder: Path) -> bool:
    state = running_platform(folder)
    return state is not None and "ready" in state.urls


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_stops_the_platform_cleanly(platform_folder, command, end):
    await eventually(lambda: _is_up(platform_folder))
    pids = pids_of(platform_folder)
    command.send_signal(end)
    output, _ = await asyncio.to_thread(command.communicate, timeout=15)
    assert (output.strip(), command.returncode) == (end.name, 0)
    assert all(is_gone(pid) for pid in pids)
    assert not (platform_folder / "state.json").exists()


async def test_the_parts_of_a_killed_command_end_and_the_next_one_starts(platform_folder, command):
    await eventually(lambda: _is_up(platform_folder))
    pids = pids_of(platform_folder)
    command.kill()
    await asyncio.to_thread(command.wait)
    assert running_platform(platform_folder) is None
    await eventually(lambda: all(is_gone(pid) for pid in pids))
    async with Supervisor(platform_folder) as supervisor:
        await supervisor.start(postgres_part(platform_folder / "postgres"), valkey_part(platform_folder / "valkey"))


async def test_a_part_that_outlived_its_command_is_ended_at_the_next_start(platform_folder):
    orphan = int(subprocess.check_output(["sh", "-c", "sleep 60 >/dev/null & echo $!"]))
    async with Supervisor(platform_folder) as supervisor:
        await supervisor.start(Part(name="idle", argv=("sleep", "60")))
        state = PlatformState.load(platform_folder)
    left = state.parts["idle"].model_copy(update={"pid": orphan, "started": psutil.Process(orphan).create_time()})
    PlatformState(pid=1, parts={"idle": left}).save(platform_folder)
    async with Supervisor(platform_folder):
        assert is_gone(orphan)


async def test_a_process_that_only_has_the_id_of_a_lost_part_is_left_alone(platform_folder):
    innocent = await asyncio.create_subprocess_exec("sleep", "60")
    async with Supervisor(platform_folder) as supervisor:
        await supervisor.start(Part(name="idle", argv=("sleep", "60")))
        state = PlatformState.load(platform_folder)
    left = state.parts["idle"].model_copy(update={"pid": innocent.pid, "started": 1.0})
    PlatformState(pid=1, parts={"idle": left}).save(platform_folder)
    async with Supervisor(platform_folder):
        assert innocent.returncode is None
    innocent.kill()
    await innocent.wait()
