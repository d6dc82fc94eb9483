"""The whole platform as a user starts it: `quickstart`, and `up --detach` with every command after it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from openai import OpenAI

from toolorchestra.cli.embedded.parts import free_port
from toolorchestra.cli.embedded.state import PlatformState, running_platform
from toolorchestra.cli.platform.folder import API_URL_NAME

Command = Callable[..., subprocess.CompletedProcess[str]]
TOOL = """\
apiVersion: toolorchestra.dev/v1alpha1
kind: Tool
metadata: {name: twice}
spec:
  description: Computes.
  parameters: {type: object, properties: {expression: {type: string}}, required: [expression]}
  plugin: {name: calculator}
  sideEffects: readOnly
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A working folder where servers of another user may reach what is below."""
    folder = Path(tempfile.mkdtemp(prefix="to-platform-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def command(folder: Path) -> Command:
    """Run a command in the folder as a user does."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TOOLORCHESTRA_", "TAVILY_"))}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-m", "toolorchestra.cli", *arguments]
        done = subprocess.run(program, cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False)
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture(scope="module")
def up(command: Command, folder: Path) -> Iterator[str]:
    """A platform in the background; what it printed."""
    (folder / "manifests").mkdir()
    (folder / "manifests" / "twice.yaml").write_text(TOOL)
    (folder / "manifests" / "broken.yaml").write_text(TOOL.replace("name: twice", "name: broken").replace("plugin", "plugn"))
    done = command("up", "--detach", "--port", str(free_port()), "--replicas", "2")
    assert done.returncode == 0, done.stderr
    yield done.stdout
    assert command("down").returncode == 0
    assert running_platform(folder / ".toolorchestra") is None


def json_of(done: subprocess.CompletedProcess[str]):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_quickstart_answers_three_questions_and_leaves_nothing_running(command, folder):
    done = command("quickstart", "--port", str(free_port()), "--state", "quick")
    assert done.returncode == 0, done.stderr
    assert "\n409.5\n" in done.stdout
    assert done.stderr.count("completed · ") == 3
    assert "local-search" in done.stderr
    assert "from openai import OpenAI" in done.stdout
    assert running_platform(folder / "quick") is None


def test_up_prints_address_key_models_tools_and_what_is_wrong(up):
    assert "models  local, toolorchestra" in up
    assert "twice" in up
    assert "optional: web-search needs" in up
    assert "TAVILY_API_KEY" in up
    assert "broken.yaml" in up


@pytest.mark.usefixtures("up")
def test_two_replicas_answer_on_one_port(up, folder):
    url = running_platform(folder / ".toolorchestra").urls[API_URL_NAME]
    for _ in range(20):
        assert httpx.get(f"{url}/v1/models").status_code == 401
    counted = re.findall(r'requests_total\{route="/v1/models",status="401"\} (\d+)', httpx.get(f"{url}/metrics").text)
    assert 0 < sum(map(int, counted)) < 20  # neither had all of them


def test_a_second_platform_in_the_folder_is_refused(command):
    done = command("up")
    assert done.returncode == 1
    assert "already runs" in done.stderr
    assert "toolorchestra down" in done.stderr


@pytest.mark.usefixtures("up")
def test_an_answer_a_plan_and_a_run_with_its_trace(command):
    asked = json_of(command("ask", "What is 17 * 23?", "--json"))
    assert asked["answer"] == "391"
    assert command("ask", "What is 17 * 23?").stdout == "391\n"
    assert "calculator" in command("ask", "What is 17 * 23?", "--dry-run").stdout
    run = asked["run"]["id"]
    shown = command("runs", "show", run).stdout
    assert "answer: 391" in shown
    assert run in command("runs", "list").stdout
    assert "execute_tool" in command("runs", "show", run, "--trace").stdout


@pytest.mark.usefixtures("up")
def test_a_model_is_asked_by_its_own_name(command):
    asked = json_of(command("ask", "What is the capital of France?", "--model", "local", "--json"))
    assert asked["answer"].strip()
    assert asked["toolorchestra"]["cost_usd"] == "0.00"
    assert asked["run"]["model"] == "local"


@pytest.mark.usefixtures("up")
def test_tools_are_checked_and_called(command):
    assert command("tools", "call", "calculator", "expression=2 ** 10").stdout == "1024\n"
    assert command("tools", "call", "python", "code=print(6 * 7)").stdout.strip() == "42"
    python = next(one for one in json_of(command("tools", "list", "--json"))["data"] if one["name"] == "python")
    assert (python["ready"], python["details"]["sandbox"]) == (True, "process")
    checked = command("tools", "check")
    assert checked.returncode == 1
    assert "broken.yaml" in checked.stderr
    assert "web-search" not in checked.stderr


@pytest.mark.usefixtures("up")
def test_money_and_keys_have_their_commands(command):
    assert command("budget", "show").returncode == 0
    assert "BilledCost" in command("usage", "--csv").stdout
    assert command("usage", "--by", "function,metadata:team").returncode == 0
    created = json_of(command("keys", "create", "ci", "--model", "local", "--limit", "day=5.00", "--json"))
    assert command("models", "--key", created["key"]).returncode == 0
    assert created["id"] in command("keys", "list").stdout
    assert command("keys", "revoke", created["id"]).returncode == 0
    deadline = time.monotonic() + 15  # a good key is remembered for a moment
    while (refused := command("models", "--key", created["key"])).returncode == 0 and time.monotonic() < deadline:
        pass
    assert (refused.returncode, created["key"] in refused.stderr) == (1, False)


def test_the_printed_lines_work_with_the_openai_client(up):
    words = dict(line.split(maxsplit=1) for line in up.splitlines() if line.startswith(("url ", "key ")))
    with OpenAI(base_url=words["url"].strip(), api_key=words["key"].strip()) as client:
        messages = [{"role": "user", "content": "What is 17 * 23?"}]
        assert client.chat.completions.create(model="toolorchestra", messages=messages).choices[0].message.content == "391"


def test_asking_can_start_a_platform_that_stays(command, folder):
    asked = command("ask", "What is 17 * 23?", "--up", "--state", "asked")
    assert (asked.returncode, asked.stdout) == (0, "391\n")
    assert running_platform(folder / "asked") is not None
    assert command("down", "--state", "asked").returncode == 0
    assert running_platform(folder / "asked") is None


def test_a_platform_that_is_ended_while_it_starts_leaves_nothing_behind(folder):
    state = folder / "early"
    program = [sys.executable, "-m", "toolorchestra.cli", "up", "--state", str(state), "--port", str(free_port())]
    process = subprocess.Popen(program, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while PlatformState.load(state) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    found = PlatformState.load(state)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in err
    assert found is not None
    assert all(part.process() is None for part in found.parts.values())
    assert running_platform(state) is None
