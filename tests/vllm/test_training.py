"""A trainer and a real vLLM: after every step the server samples with the trainer's weights, and a step that it misses is told."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import yaml

from tests.support.training import train
from tests.support.vllm import Vllm, set_up

pytestmark = pytest.mark.timeout(900, func_only=True)

STEPS = 8
MISSED = 5  # whose adapter does not arrive, where one is to be missed
OPTIONS = ("--served-model-name", "tiny", "--dtype", "float32", "--max-model-len", "512", "--max-num-seqs", "64")
ADAPTERS = ("--enable-lora", "--max-lora-rank", "8", "--logprobs-mode", "processed_logprobs")
Write = Callable[[str], Path]


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen3 that has learnt enough for its episodes to differ."""
    folder = tmp_path_factory.mktemp("model") / "taught"
    made = train("-m", "tests.training.taught", str(folder))
    assert made.returncode == 0, made.stdout
    return folder


@pytest.fixture(scope="module")
def served(taught: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vllm]:
    """A vLLM that serves it, and takes adapters."""
    log = tmp_path_factory.mktemp("vllm") / "vllm.log"
    server = Vllm(log, options=("--model", str(taught), *OPTIONS, *ADAPTERS))
    set_up()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def write(tmp_path: Path, taught: Path) -> Write:
    """Writes the file of a run that is sampled at this URL."""

    def make(url: str) -> Path:
        backend = {"kind": "vllm", "url": url, "model": "tiny", "adapters": str(tmp_path / "adapters")}
        run = {
            "model": {"path": str(taught), "lora": {"rank": 8, "alpha": 16}},
            "tasks": {"kind": "routes", "count": 4, "seed": 10},
            "rollout": {"group_size": 8, "groups_per_step": 4, "explored": 0.25, "backend": backend},
            "optimiser": {"steps": STEPS, "warmup_steps": 0, "learning_rate": 3e-3},
            "gate": None,
        }
        file = tmp_path / "run.yaml"
        file.write_text(yaml.safe_dump(run))
        return file

    return make


def test_the_contract_of_the_fake_holds(taught: Path, served: Vllm) -> None:
    tests = "tests/training/test_vllm_policy.py"
    config = ("-c", "training-jobs/grpo/pyproject.toml", "--rootdir=tests/training", "--confcutdir=tests/training")
    done = train("-m", "pytest", *config, "-q", tests, "--vllm", served.url, "--taught", str(taught))
    assert done.returncode == 0, done.stdout
    assert re.search(r"^[4-9] passed", done.stdout, re.MULTILINE), done.stdout


def test_every_step_is_sampled_with_the_trainers_weights(
    write: Write, served: Vllm, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = train("-m", "toolorchestra.training.grpo", str(write(served.url)), "--out", str(tmp_path / "out"))
    assert done.returncode == 3, done.stdout  # trained; without a gate nothing is published
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    gaps = [line["sync_gap"] for line in lines]
    assert len(gaps) == STEPS
    assert max(gaps) < 1e-3
    assert sum(line["kept_groups"] > 0 for line in lines) > STEPS / 2, "most steps moved the weights"
    listed = httpx.get(f"{served.url}/v1/models").json()["data"]
    (kept,) = [one["id"] for one in listed if one["root"].startswith(str(tmp_path))]
    assert kept.startswith(f"policy-v{STEPS - 1}-")
    with capsys.disabled():
        print(f"\nadapter sync: {STEPS} steps of 32 episodes, log-probability gap at most {max(gaps):.1e} nats")


def test_a_missed_step_is_caught(write: Write, served: Vllm, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with missing(served, step=MISSED) as url:
        done = train("-m", "toolorchestra.training.grpo", str(write(url)), "--out", str(tmp_path / "out"))
    assert done.returncode == 1, done.stdout
    told = re.search(rf"^policy-v{MISSED}-\w+: log-probabilities differ by up to (\S+) nats .*$", done.stdout, re.MULTILINE)
    assert told, done.stdout
    assert len((tmp_path / "out" / "metrics.jsonl").read_text().splitlines()) == MISSED
    with capsys.disabled():
        print(f"\nadapter sync: a step that the server missed shows as a gap of {told[1]} nats")


class Busy(ThreadingHTTPServer):
    request_queue_size = 128  # all episodes of a step come at once


class missing:  # noqa: N801 - used like a function
    """A way to a server on which the adapter of one step is replaced by that of the step before; everything else passes."""

    def __init__(self, server: Vllm, step: int) -> None:
        self._server = Busy(("127.0.0.1", 0), _passing(server.url, step))

    def __enter__(self) -> str:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def _passing(url: str, step: int) -> type[BaseHTTPRequestHandler]:
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._pass(b"")

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/v1/load_lora_adapter":
                body = json.loads(content)
                paths.append(body["lora_path"])
                if body["lora_name"].startswith(f"policy-v{step}-"):
                    content = json.dumps(body | {"lora_path": paths[-2]}).encode()
            self._pass(content)

        def _pass(self, content: bytes) -> None:
            headers = {"Content-Type": "application/json"}
            found = httpx.request(self.command, f"{url}{self.path}", content=content, headers=headers, timeout=300)
            self.send_response(found.status_code)
            self.send_header("Content-Length", str(len(found.content)))
            self.end_headers()
            self.wfile.write(found.content)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    return Handler
