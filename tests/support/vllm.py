"""A real vLLM for tests, on the CPU: one server per session, set up when it is not there; it ends with the test process."""

import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest

from toolorchestra.cli.embedded.leash import leashed
from toolorchestra.cli.embedded.parts import free_port

MODEL = "smollm2"
FOLDER = Path(__file__).parents[2] / "infra" / "vllm"
START_S = 300.0  # half a minute on an idle machine: three processes import torch, one after the other
STOP_S = 30.0


@dataclass(frozen=True, slots=True)
class Counted:
    """What vLLM itself counted since it started."""

    prompt_tokens: int
    generated_tokens: int

    def __sub__(self, other: "Counted") -> "Counted":
        return Counted(self.prompt_tokens - other.prompt_tokens, self.generated_tokens - other.generated_tokens)


@dataclass
class Vllm:
    """One server at one port, which may be killed and started again. ``options`` are vLLM's own, beside those of serve.sh."""

    log: Path
    options: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    process: psutil.Popen | None = None

    @property
    def url(self) -> str:
        """Where it listens; the OpenAI API lies below, at ``/v1``."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when it is ready."""
        command = leashed((str(FOLDER / "serve.sh"), "--port", str(self.port), *self.options))
        with self.log.open("ab") as output:
            self.process = psutil.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        began = time.monotonic()
        while not self._healthy():
            if self.process.poll() is not None or time.monotonic() > began + START_S:
                pytest.fail(f"vLLM did not start:\n{self.log.read_text(errors='replace')[-6000:]}", pytrace=False)
            time.sleep(0.2)
        print(f"vLLM: ready after {time.monotonic() - began:.0f} s", flush=True)

    def kill(self) -> None:
        """kill -9 of the server and of the processes that compute for it, which would outlive it."""
        assert self.process is not None, "it was not started"
        for one in [*self.process.children(recursive=True), self.process]:
            one.kill()
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM, as Kubernetes does; nothing if it has ended."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(timeout=STOP_S)
        except psutil.TimeoutExpired:
            self.kill()

    def counted(self) -> Counted:
        """Its own counters."""
        text = self._metrics()
        return Counted(metric(text, "prompt_tokens_total"), metric(text, "generation_tokens_total"))

    def at_work(self) -> int:
        """How many requests it works on or keeps waiting."""
        text = self._metrics()
        return metric(text, "num_requests_running") + metric(text, "num_requests_waiting")

    def _metrics(self) -> str:
        return httpx.get(f"{self.url}/metrics", timeout=30).text

    def _healthy(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False


def metric(text: str, name: str) -> int:
    """One of vLLM's counts."""
    values = re.findall(rf"^vllm:{name}{{.*}} (\S+)$", text, re.MULTILINE)
    assert values, f"vLLM shows no metric {name}"
    return int(sum(map(float, values)))


@pytest.fixture(scope="session")
def vllm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vllm]:
    """A running vLLM that serves ``MODEL``. What has to be set up first is told as it is done."""
    server = Vllm(tmp_path_factory.mktemp("vllm") / "vllm.log")
    try:
        with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            set_up()
            server.start()
        yield server
    finally:
        server.stop()


def set_up() -> Path:
    """The environment and the model, when they are not there; tells what it does. The folder with both."""
    done = subprocess.run([str(FOLDER / "setup.sh")], check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        pytest.fail("vLLM could not be set up, see above", pytrace=False)
    return Path(done.stdout.strip())
