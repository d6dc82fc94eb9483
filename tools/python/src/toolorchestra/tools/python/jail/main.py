"""The launcher: reads a job, puts on the layers in a child process, and watches over it until it ends.

Standard input: one line of JSON (``Job``), then held open by the platform; its end means that the platform is gone.
Standard output: what the code writes. Standard error: reports, one line of JSON each: ``layers``, ``result``, ``end``.
"""

import json
import os
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

from toolorchestra.tools.python.jail import execute, landlock, limits, namespaces, seccomp
from toolorchestra.tools.python.jail.kernel import PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG, Kernel, KernelError

_SYSTEM_PATHS: Final = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/usr/share/zoneinfo",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/dev/random",
    "/dev/urandom",
)
_LOOK_EVERY_MS: Final = 200
_LOOK_OFTEN_MS: Final = 10
_GRACE_SECONDS: Final = 2
_MAX_DESCRIPTOR: Final = 4_096
_MAX_ENTRIES: Final = 4_096


class Job(NamedTuple):  # a dataclass would double the time it takes to start
    """What to run and within which bounds. ``work`` is an empty folder of this call alone."""

    code: str
    work: str
    memory_bytes: int
    disk_bytes: int
    time_ms: int
    value_characters: int


def main() -> None:
    """Run the job given on standard input, then leave without cleaning up: the process is all there is."""
    kernel = Kernel()
    kernel.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    kernel.use_one_heap()
    job = Job(**json.loads(_read_line(0)))
    network = _network()
    how = namespaces.enter(kernel)
    own_network = how is not None and _network() != network
    spare = limits.FIRST_SPARE_USER + os.getpid()
    guarded, guarding = os.pipe()  # its end tells the child that this process is gone
    child = os.fork()
    if child == 0:
        os.close(guarding)
        _be_the_child(kernel, job, how, spare, guarded, own_network=own_network)
    os.close(guarded)
    status, reason = _watch(job, child)
    _report(2, "end", {"status": status, "reason": reason})
    os._exit(0)


def _be_the_child(kernel: Kernel, job: Job, how: str | None, spare: int, guarded: int, *, own_network: bool) -> None:
    report = os.dup(2)
    try:
        kernel.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        layers = _put_on_layers(kernel, job, how, spare, (report, guarded)) | {"namespaces": how or "none"}
        layers["network"] = "open" if not layers["seccomp"] else ("namespace" if own_network else "seccomp")
        _report(report, "layers", layers)
        if "open" not in (layers["network"], layers["files"]):  # the filter is also what keeps processes in hand
            result = execute.execute(job.code, value_characters=job.value_characters)
            _flush()
            _report(report, "result", result)
    except BaseException as error:  # noqa: BLE001  # nothing may escape into the parent's code after the fork
        _report(report, "failure", {"message": f"{type(error).__name__}: {error}"})
        os._exit(1)
    os._exit(0)


def _put_on_layers(kernel: Kernel, job: Job, how: str | None, spare: int, kept: tuple[int, int]) -> dict[str, Any]:
    """Every layer that the kernel grants, and what was then found; ``open`` marks files that nothing guards."""
    read = readable_paths()
    work, own_root = _own_root(kernel, job, how, read)
    user = limits.choose_user(spare, needed=Path(os.__file__)) if how != "user" else None
    if user is not None:
        os.chown(work, user, user)
    os.chdir(work)
    _set_environment(work)
    _set_descriptors(kept)
    limits.apply(
        memory_bytes=job.memory_bytes,
        file_bytes=job.disk_bytes,
        cpu_seconds=job.time_ms // 1_000 + 2,
        own_user=how == "user" or user is not None,
    )
    kernel.prctl(PR_SET_NO_NEW_PRIVS, 1)
    version = _landlock(kernel, read, work)
    if user is not None:
        limits.become(user)
    limits.drop_privileges(kernel)
    _stay_guarded(kernel, kept[1])
    filtered = _filter(kernel)
    files = "namespace" if own_root else ("landlock" if version else "open")
    return {"files": files, "landlock": version, "seccomp": filtered, "user": os.getuid()}


def readable_paths() -> list[Path]:
    """The interpreter, its standard library, the system's libraries, time zones; outer folders first."""
    base = Path(sys.base_prefix)
    own = [Path(entry) for entry in sys.path if Path(entry).is_absolute()]
    paths = {*own, base / "lib", base / "lib64", *map(Path, _SYSTEM_PATHS)}
    return sorted(path for path in paths if path.exists())


def _own_root(kernel: Kernel, job: Job, how: str | None, read: list[Path]) -> tuple[Path, bool]:
    base = Path(job.work)
    if how is not None:
        with suppress(OSError):  # some systems grant namespaces but no mounts; Landlock then guards the files
            return namespaces.change_root(kernel, base=base, read=read, work_bytes=job.disk_bytes), True
    return base, False


def _landlock(kernel: Kernel, read: list[Path], work: Path) -> int:
    try:
        return landlock.restrict(kernel, read=read, work=work)
    except KernelError:
        return 0


def _filter(kernel: Kernel) -> bool:
    with suppress(KernelError):
        seccomp.install(kernel, os.getpid())
    return kernel.refuses_sockets()


def _network() -> str:
    """The identity of the network namespace; empty where /proc is hidden."""
    with suppress(OSError):
        return str(Path("/proc/self/ns/net").readlink())
    return ""


def _set_environment(work: Path) -> None:
    """Nothing of the platform stays within reach: neither its variables nor its modules."""
    os.environ.clear()
    os.environ.update({"HOME": str(work), "TMPDIR": str(work), "LANG": "C.UTF-8"})
    for name in [name for name in sys.modules if name.partition(".")[0] == "toolorchestra"]:
        del sys.modules[name]
    sys.argv[:] = [""]
    sys.dont_write_bytecode = True


def _set_descriptors(kept: tuple[int, int]) -> None:
    nothing = os.open("/dev/null", os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(1, 2)
    low, high = sorted(kept)
    os.closerange(3, low)
    os.closerange(low + 1, high)
    os.closerange(high + 1, _MAX_DESCRIPTOR)


def _stay_guarded(kernel: Kernel, guarded: int) -> None:
    """Die with the launcher. A change of user has cleared the kernel's promise; the launcher may have died meanwhile."""
    kernel.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if select.select([guarded], [], [], 0)[0]:
        os._exit(1)
    os.close(guarded)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the code may have closed it
            stream.flush()


def _watch(job: Job, child: int) -> tuple[int, str | None]:
    """Wait for the child's end; kill it when the platform goes, when its time is over or its folder too full.

    Returns its exit status (negative: the signal) and why it was killed.
    """
    deadline = time.monotonic() + job.time_ms / 1_000 + _GRACE_SECONDS
    poll = select.poll()
    poll.register(0, select.POLLIN | select.POLLHUP)
    look_every_ms = _LOOK_EVERY_MS
    try:
        poll.register(os.pidfd_open(child), select.POLLIN)
    except OSError:
        look_every_ms = _LOOK_OFTEN_MS  # a container without pidfd: look instead of being told
    reason = None
    while True:
        ready = [descriptor for descriptor, _ in poll.poll(look_every_ms)]
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), reason
        reason = "abandoned" if 0 in ready else ("time" if time.monotonic() > deadline else _too_full(job))
        if reason is not None:
            os.kill(child, signal.SIGKILL)
            poll.unregister(0)


def _too_full(job: Job) -> str | None:
    """Where the folder is on a disk, nothing but this look bounds the sum of its files."""
    total = entries = 0
    for folder, folders, files in os.walk(job.work):
        entries += len(folders) + len(files)
        for name in files:
            with suppress(OSError):
                total += Path(folder, name).lstat().st_size
        if total > job.disk_bytes or entries > _MAX_ENTRIES:
            return "disk"
    return None


def _read_line(descriptor: int) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(descriptor, 65_536)
        if not part:
            os._exit(1)
        line += part
    return line


def _report(descriptor: int, name: str, value: dict[str, Any]) -> None:
    data = (json.dumps({name: value}) + "\n").encode()
    with suppress(OSError):  # the code may have closed it, or the platform is gone
        while data:
            data = data[os.write(descriptor, data) :]
