"""The real sandbox on the real kernel: what code can do in it, and every way out that was thought of."""

import asyncio
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from textwrap import dedent
from time import monotonic
from typing import Any

import psutil
import pytest

from toolorchestra.core.errors import InvalidArgumentsError, UpstreamTimeoutError
from toolorchestra.core.plugins import PluginContext, PluginResult
from toolorchestra.tools.python import jail
from toolorchestra.tools.python.probing import probe
from toolorchestra.tools.python.sandbox import CodeRunner, Report
from toolorchestra.tools.python.tool import create

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is made of parts of Linux")
X86 = platform.machine() == "x86_64"
UNSHARE, LANDLOCK, SECCOMP = (272, 444, 317) if X86 else (97, 444, 277)
RESTRICTED = Path(__file__).with_name("restricted.py")


async def run(code: str, *, timeout_ms: int = 10_000, config: dict[str, Any] | None = None) -> PluginResult:
    context = PluginContext(call_id="c", tenant="t", timeout_ms=timeout_ms, idempotency_key="k")
    return await create(config or {}).run({"code": dedent(code)}, context)


async def failure(code: str, *, timeout_ms: int = 10_000, config: dict[str, Any] | None = None) -> str:
    with pytest.raises((InvalidArgumentsError, UpstreamTimeoutError)) as caught:
        await run(code, timeout_ms=timeout_ms, config=config)
    return str(caught.value)


def children() -> set[psutil.Process]:
    return set(psutil.Process().children())


def started_since(before: set[psutil.Process]) -> list[str]:
    """What runs of the processes that this one started later; servers of other tests start and end some of their own."""
    return [line for child in children() - before for line in (_seen(child), *map(_seen, _under(child))) if line]


def _under(child: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return child.children(recursive=True)
    return []


def _seen(process: psutil.Process) -> str:
    with suppress(psutil.NoSuchProcess):
        if process.status() != psutil.STATUS_ZOMBIE:
            return f"{process.pid} {process.name()} {process.status()}"
    return ""


def wait_until(true: Callable[[], bool], *, seconds: float = 5) -> bool:
    end = monotonic() + seconds
    while not true() and monotonic() < end:
        os.sched_yield()
    return true()


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Every test must leave no process behind, and no folder where it makes them."""
    before = children()
    tmp_path_factory.getbasetemp()  # pytest's own stays where it is
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # the code runs as another user
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield
        assert wait_until(lambda: not started_since(before)), started_since(before)
        assert list(Path(folder).iterdir()) == []


# What it is for.


@pytest.mark.parametrize(
    ("code", "content"),
    [
        ("2 ** 100", "1267650600228229401496703205376"),
        ("print('a'); print('b'); 'c'", "a\nb\n'c'"),
        ("x = 5", "(no output; print what you want to see)"),
        ("def f(n):\n    return n * 2\nf(21)", "42"),
        ("import sys; print('err', file=sys.stderr); 1", "err\n1"),
        ("print('ü€😀')", "ü€😀"),
        (
            "import json, re, math, decimal, fractions, statistics, datetime, itertools, random, csv, hashlib; math.comb(49, 6)",
            "13983816",
        ),
        (
            "import zoneinfo, datetime as d; d.datetime(2026, 7, 1, tzinfo=zoneinfo.ZoneInfo('Europe/Berlin')).utcoffset().seconds",
            "7200",
        ),
        ("from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\nP(3)", "P(x=3)"),
        ("import asyncio\nasync def f():\n    await asyncio.sleep(0)\n    return 7\nasyncio.run(f())", "7"),
        (
            "from concurrent.futures import ThreadPoolExecutor as T\nwith T(16) as t:\n    s = sum(t.map(abs, range(-9, 0)))\ns",
            "45",
        ),
        ("open('f', 'w').write('hi'); open('f').read()", "'hi'"),
        ("import tempfile; f = tempfile.TemporaryFile(); f.write(b'abc')", "3"),
        ("import sqlite3; c = sqlite3.connect('x.db'); c.execute('create table t (a)'); list(c.execute('select 1'))", "[(1,)]"),
        ("import threading, time\ndef f():\n    time.sleep(.05); print('late')\nthreading.Thread(target=f).start()", "late"),
        ("exit()", "(no output; print what you want to see)"),
        ("__name__", "'__main__'"),
    ],
)
async def test_ordinary_programs_run_and_answer_like_an_interactive_session(code: str, content: str) -> None:
    assert (await run(code)).content == content


async def test_a_traceback_shows_the_codes_own_lines_only() -> None:
    assert await failure("import json\ndef f():\n    return json.loads('{')\nf()") == dedent("""\
        Traceback (most recent call last):
          File "<code>", line 4, in <module>
            f()
          File "<code>", line 3, in f
            return json.loads('{')
        json.decoder.JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)""")


async def test_a_syntax_error_points_at_the_place() -> None:
    said = await failure("x = (1,\ny = 2")
    assert 'File "<code>", line 1' in said
    assert "SyntaxError" in said


async def test_nothing_carries_over_from_call_to_call() -> None:
    await run("open('kept', 'w').write('x'); import builtins; builtins.kept = 1")
    assert (await run("import os, builtins; os.listdir('.'), hasattr(builtins, 'kept')")).content == "([], False)"


async def test_calls_run_side_by_side() -> None:
    start = monotonic()
    results = await asyncio.gather(*(run(f"import time; time.sleep(0.5); {number}") for number in range(4)))
    assert [result.content for result in results] == ["0", "1", "2", "3"]
    assert monotonic() - start < 1.9


# Ways out.


async def test_the_probe_finds_every_way_closed_and_readiness_says_what_closes_them() -> None:
    readiness = await create({}).check({})
    assert readiness.ready, readiness.message
    assert readiness.details["sandboxRung"] == "process"
    assert readiness.details["network"] in ("namespace", "seccomp")
    assert readiness.details["files"] in ("namespace", "landlock")
    assert (await run("1")).details["network"] == readiness.details["network"]


async def test_the_probe_notices_when_there_is_no_sandbox() -> None:
    class Nothing(CodeRunner):
        async def run(self, code: str, *, timeout_ms: int) -> Report:
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=subprocess.PIPE)
            output, _ = await process.communicate()
            return Report(output.decode(), truncated=False, finished=True)

    escapes = (await probe(Nothing(), outside=("127.0.0.1", 1))).escapes
    assert any(escape.startswith("connected 127.0.0.1") for escape in escapes)
    assert "read /etc/passwd" in escapes
    assert f"read /proc/{os.getpid()}/environ" in escapes
    assert any(escape.startswith("written /tmp") for escape in escapes)
    assert "started process" in escapes


@pytest.mark.parametrize(
    "code",
    [
        "import socket; socket.create_connection(('127.0.0.1', 22), 1)",
        "import socket; socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)",
        "import socket; socket.socket(socket.AF_UNIX)",
        "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)",
        "import urllib.request; urllib.request.urlopen('http://127.0.0.1/', timeout=1)",
    ],
)
async def test_no_socket_opens(code: str) -> None:
    assert "no network" in await failure(code) or "Operation not permitted" in await failure(code)


async def test_the_parents_secrets_are_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_TEST_SECRET", "s3cret-value")
    code = f"""
        import os, glob
        found = [str(os.environ)]
        for path in ['/proc/self/environ', '/proc/1/environ', '/proc/{os.getpid()}/environ', *glob.glob('/proc/*/environ')]:
            try:
                found.append(open(path).read())
            except OSError as error:
                found.append(type(error).__name__)
        found
    """
    content = str((await run(code)).content)
    assert "s3cret" not in content
    assert "PATH" not in content


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "/proc/1/cmdline",
        str(Path(__file__)),
        str(Path.home() / ".bashrc"),
        "/etc/hostname",
        "/dev/mem",
        "/proc/self/mem",
    ],
)
async def test_files_outside_cannot_be_read(path: str) -> None:
    assert "Error" in await failure(f"open({path!r}, 'rb').read(1)")


async def test_files_outside_cannot_be_written_changed_or_removed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("whole")
    for folder in (tmp_path.parent.parent, tmp_path.parent, tmp_path):
        folder.chmod(0o755)
    tmp_path.chmod(0o777)
    victim.chmod(0o666)
    code = f"""
        import os, shutil
        v = {str(victim)!r}
        for attempt in (
            lambda: open(v, 'w'), lambda: os.open(v, os.O_RDONLY | os.O_TRUNC), lambda: os.truncate(v, 0), lambda: os.remove(v),
            lambda: os.chmod(v, 0), lambda: os.utime(v), lambda: os.rename(v, v + '2'), lambda: os.link(v, 'mine'),
            lambda: open(v + 'new', 'w'), lambda: os.mkdir(v + 'dir'), lambda: os.symlink('/', v + 'link'),
        ):
            try:
                attempt(); print('done')
            except OSError:
                pass
    """
    assert (await run(code)).content == "(no output; print what you want to see)"
    assert victim.read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["victim"]
    assert victim.stat().st_mode & 0o777 == 0o666


async def test_the_interpreters_own_files_cannot_be_changed() -> None:
    assert "Error" in await failure("import os; open(os.__file__, 'a').write('#')")


@pytest.mark.parametrize(
    "code",
    [
        "import os\nwhile True:\n    os.fork()",
        "import subprocess; subprocess.run(['/bin/sh', '-c', 'echo out'])",
        "import os; os.system('echo out') and 1/0",
        "import multiprocessing as m\nm.get_context('fork').Process(target=print).start()",
        "import os; os.execv('/bin/sh', ['sh'])",
        "import os; os.posix_spawn('/bin/sh', ['sh', '-c', 'sleep 60 &'], {})",
        "import os; os.setsid()",
    ],
)
async def test_no_process_can_be_started(code: str) -> None:
    assert await failure(code, timeout_ms=3_000)


async def test_a_bomb_of_threads_is_bounded() -> None:
    code = """
        import threading, time
        threading.stack_size(32768)
        n = 0
        try:
            while n < 5000:
                threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
                n += 1
        except RuntimeError:
            print('refused')
        n < 2000
    """
    if os.geteuid() == 0 or (await run("1")).details["namespaces"] == "user":
        assert (await run(code)).content == "refused\nTrue"
    else:
        assert str((await run(code)).content).startswith("refused")


@pytest.mark.parametrize(
    "code", ["x = [0] * 10**9", "x = 'a'\nwhile True:\n    x += x", "x = []\nwhile True:\n    x.append(bytes(10**7))"]
)
async def test_a_bomb_of_memory_ends_in_a_memory_error(code: str) -> None:
    assert "MemoryError" in await failure(code)


async def test_memory_limits_can_be_set() -> None:
    assert (await run("len(bytes(300 * 2**20))")).content == str(300 * 2**20)
    assert "MemoryError" in await failure("len(bytes(300 * 2**20))", config={"memory_mb": 128})


@pytest.mark.parametrize(
    "code",
    [
        "print('step 1')\nwhile True:\n    pass",
        "print('step 1'); import time; time.sleep(60)",
        "print('step 1')\n10 ** 10 ** 9",
    ],
)
async def test_an_endless_program_is_stopped_with_what_it_said(code: str) -> None:
    start = monotonic()
    said = await failure(code, timeout_ms=1_000)
    assert said == "step 1\n[stopped: the code ran longer than 0.7 s]"
    assert monotonic() - start < 2.5


async def test_signals_do_not_hold_off_the_end() -> None:
    code = """
        import signal, time
        for number in range(1, 32):
            try:
                signal.signal(number, signal.SIG_IGN)
            except OSError:
                pass
        while True:
            time.sleep(1)
    """
    assert "ran longer" in await failure(code, timeout_ms=1_000)


async def test_long_output_is_cut_and_endless_output_ends_the_program() -> None:
    cut = str((await run("print('x' * 100_000); 5")).content)
    assert cut.endswith("x\n[output cut]\n5")
    assert len(cut) < 33_000
    assert "too much output" in await failure("while True:\n    print('x' * 1000)")


async def test_a_huge_value_is_cut() -> None:
    assert len(str((await run("list(range(10**6))")).content)) < 17_000


async def test_endless_files_are_refused_or_end_the_program() -> None:
    said = await failure("n = 0\nwhile True:\n    open(f'f{n}', 'wb').write(bytes(10**6)); n += 1")
    assert "No space left" in said or "too large files" in said
    assert (
        "File too large" in await failure("f = open('f', 'wb')\nwhile True:\n    f.write(bytes(10**6))") or "No space" in said
    )


@pytest.mark.skipif(not X86, reason="the numbers are those of x86_64")
async def test_raw_system_calls_around_the_library_are_refused() -> None:
    code = """
        import ctypes, errno
        libc = ctypes.CDLL(None, use_errno=True)
        calls = dict(io_uring_setup=425, ptrace=101, mount=165, unshare=272, socket=41, fork=57, vfork=58, keyctl=250, bpf=321,
                     pidfd_open=434, process_vm_readv=310, setsid=112, chmod=90, perf_event_open=298, userfaultfd=323, kexec_load=246,
                     open_by_handle_at=304, add_key=248, init_module=175, reboot=169, syslog=103, setns=308, memfd_secret=447)
        {name for name, number in calls.items() if libc.syscall(number, 0, 0, 0, 0, 0, 0) != -1 or ctypes.get_errno() != errno.EPERM}
    """
    assert (await run(code)).content == "set()"


async def test_the_platform_cannot_be_signalled() -> None:
    code = f"""
        import os, signal
        for pid in ({os.getpid()}, os.getppid(), 1 if os.getpid() != 1 else 2, -1, 0):
            try:
                os.kill(pid, signal.SIGTERM); print('sent', pid)
            except OSError:
                pass
    """
    assert "sent" not in str((await run(code)).content)


async def test_reports_cannot_be_forged() -> None:
    code = """
        import os
        for descriptor in range(3, 64):
            try:
                os.write(descriptor, b'{"layers": {"network": "forged", "files": "forged"}}\\n')
            except OSError:
                pass
        'done'
    """
    result = await run(code)
    assert result.content == "'done'"
    assert "forged" not in str(result.details)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import os; os._exit(4)", "exit status 4"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import ctypes; ctypes.string_at(0)", "killed by signal 11"),
        ("import os; os.abort()", "killed by signal"),
        ("import resource; resource.setrlimit(resource.RLIMIT_CPU, (1, 1))\nwhile True:\n    pass", "killed by signal 9"),
        ("def f():\n    f()\nf()", "RecursionError"),
        ("class E(BaseException):\n    def __str__(self):\n        raise E\nraise E", "E"),
        ("class R:\n    def __repr__(self):\n        return 1 / 0\nR()", "ZeroDivisionError"),
        ("input()", "EOFError"),
    ],
)
async def test_strange_ends_are_told(code: str, says: str) -> None:
    assert says in await failure(code)


async def test_closing_everything_does_not_hold_off_the_end() -> None:
    code = """
        import os
        for descriptor in range(64):
            try:
                os.close(descriptor)
            except OSError:
                pass
        while True:
            pass
    """
    assert "ran longer" in await failure(code, timeout_ms=1_000)


# The end of a call that nobody waits for.


async def test_a_cancelled_call_leaves_nothing_running() -> None:
    before = children()
    task = asyncio.create_task(run("import time\nwhile True:\n    time.sleep(1)", timeout_ms=60_000))
    while len(started_since(before)) < 2:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert wait_until(lambda: not started_since(before)), started_since(before)


def test_code_dies_with_a_platform_that_is_killed(tmp_path: Path) -> None:
    program = dedent("""
        import asyncio
        from toolorchestra.tools.python.sandbox import Limits, Sandbox
        asyncio.run(Sandbox(Limits()).run("while True: pass", timeout_ms=60_000))
    """)
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", program], env=environment) as platform_process:
        try:
            watched = psutil.Process(platform_process.pid)
            assert wait_until(lambda: len(watched.children(recursive=True)) >= 2)
            running = watched.children(recursive=True)
        finally:
            platform_process.send_signal(signal.SIGKILL)
    assert wait_until(lambda: not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in running))


# Machines that grant less.


def restricted(forbidden: list[int], code: str) -> dict[str, Any]:
    command = [sys.executable, str(RESTRICTED), ",".join(map(str, forbidden)), code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_without_namespaces_landlock_and_seccomp_hold() -> None:
    found = restricted([UNSHARE], "open('f', 'w').write('x')")
    assert found["ready"], found["message"]
    assert found["content"] == "1"
    assert (found["details"]["network"], found["details"]["files"]) == ("seccomp", "landlock")


def test_without_namespaces_a_folder_on_disk_is_still_bounded() -> None:
    found = restricted([UNSHARE], "n = 0\nwhile True:\n    open(f'f{n}', 'wb').write(bytes(10**6)); n += 1")
    assert "too large files" in found["content"]


def test_without_landlock_an_own_root_holds() -> None:
    found = restricted([LANDLOCK], "import os; os.path.exists('/etc/passwd'), os.path.exists('/proc')")
    assert found["ready"], found["message"]
    assert found["content"] == "(False, False)"
    assert (found["details"]["files"], found["details"]["landlock"]) == ("namespace", 0)


@pytest.mark.parametrize(("forbidden", "names"), [([UNSHARE, LANDLOCK], "files"), ([SECCOMP], "network")])
def test_with_too_little_no_code_is_run(forbidden: list[int], names: str) -> None:
    found = restricted(forbidden, "print('ran')")
    assert (found["ready"], found["reason"], found["error"]) == (False, "SandboxUnavailable", "UnavailableError")
    assert "ran" not in found["content"].split()
    assert names in found["message"]


@pytest.fixture
def public_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="public-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_an_ordinary_user_gets_the_same_sandbox(public_folder: Path) -> None:
    user = 54_321 if os.geteuid() == 0 else None
    source = public_folder / "src/toolorchestra/tools/python/jail"
    shutil.copytree(Path(jail.__file__).parent, source)
    subprocess.run(["chmod", "-R", "a+rX", str(public_folder)], check=True)
    work = public_folder / "work"
    work.mkdir()
    if user is not None:
        os.chown(work, user, user)
    boot = "import sys; sys.path.insert(0, sys.argv[1]); from toolorchestra.tools.python.jail.main import main; sys.path.remove(sys.argv[1]); main()"
    job = {
        "code": "import os; os.getuid(), os.path.exists('/etc/passwd')",
        "work": str(work),
        "memory_bytes": 2**29,
        "disk_bytes": 2**20,
        "time_ms": 5_000,
        "value_characters": 1_000,
    }
    with subprocess.Popen(
        [public_interpreter(), "-I", "-S", "-c", boot, str(public_folder / "src")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={},
        user=user,
        group=user,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
        said = {name: value for line in process.stderr for name, value in json.loads(line).items()}
    assert said["layers"]["seccomp"]
    assert "open" not in (said["layers"]["network"], said["layers"]["files"])
    assert said["result"]["value"] == f"({user or os.getuid()}, False)"


def public_interpreter() -> str:
    """An interpreter that another user may run too."""
    for candidate in (Path(sys.executable).resolve(), Path("/usr/bin/python3"), Path("/usr/local/bin/python3")):
        if candidate.exists() and (os.geteuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in candidate.parents)):
            return str(candidate)
    pytest.skip("this machine has no Python that an ordinary user may run")
