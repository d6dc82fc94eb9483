"""A published checkpoint is served behind the completions protocol, and the platform's own loop runs on it."""

import asyncio
import json
import subprocess
import sys
import threading
from dataclasses import dataclass
from shutil import copytree

import httpx
import pytest

from tests.training.taught import SEED, TASKS
from toolorchestra.core.chat import ChatModels, CompletionReply
from toolorchestra.core.errors import NotFoundError
from toolorchestra.core.policyformat import STOP
from toolorchestra.core.pricing import Usage
from toolorchestra.core.testing import Say, ScriptedModels
from toolorchestra.training.grpo.checkpoints import load
from toolorchestra.training.grpo.errors import InvalidRunError
from toolorchestra.training.grpo.local_policy import LocalPolicy
from toolorchestra.training.grpo.policies import PolicyUnavailableError
from toolorchestra.training.grpo.rollouts import Engine, Seat
from toolorchestra.training.grpo.serving import open_server, open_service
from toolorchestra.training.grpo.settings import ModelSettings
from toolorchestra.training.grpo.tiny.routes import Draw
from toolorchestra.training.grpo.tiny.staging import scene_of
from toolorchestra.worlds.playing import play

NAME = "tiny"
SCENES = [scene_of(Draw(SEED).task(number), temperature=0.0) for number in range(3 * TASKS)]


@pytest.fixture(scope="module")
def url(taught):
    server = open_server(open_service(taught, NAME), "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@dataclass
class Served(ChatModels):
    """The manager behind HTTP, asked as the platform asks it."""

    client: httpx.AsyncClient

    async def chat(self, request):
        raise PolicyUnavailableError("there is no chat")

    async def complete(self, request):
        body = {"model": NAME, "prompt": request.prompt, "max_tokens": request.max_tokens, "temperature": request.temperature}
        answer = (
            (await self.client.post("/v1/completions", json={**body, "stop": list(request.stop)})).raise_for_status().json()
        )
        (choice,), usage = answer["choices"], answer["usage"]
        usage = Usage(usage["prompt_tokens"], usage["completion_tokens"])
        return CompletionReply(choice["text"], usage, finish_reason=choice["finish_reason"], latency_ms=20 * usage.output)


async def test_the_platforms_loop_runs_on_it_as_in_training(url, taught):
    """Episodes side by side over HTTP end as those that are sampled in this process."""
    loaded = load(ModelSettings(path=str(taught)))
    here = await Engine(LocalPolicy(loaded.model, loaded.codec, seed=0), loaded.codec).play([Seat(one) for one in SCENES])
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        runs = [play(one.revision, one.opened, models=Served(client), executor=one.executor()) for one in SCENES]
        served = await asyncio.gather(*runs)
    assert [outputs(one.state) for one in served] == [outputs(one.state) for one in here]
    answered = [one for one in served if outputs(one.state)[-1:] == ["answer_from 1/1"]]
    assert len(answered) >= TASKS, "it was taught to call a tool and to hand its answer on"
    assert all(one.answer for one in answered)


def outputs(state):
    return [turn.decided.decision.output for turn in state.turns if turn.decided is not None and turn.decided.decision.output]


@pytest.fixture(scope="module")
def asking(url):
    with httpx.Client(base_url=url, timeout=60) as client:
        yield lambda **body: client.post("/v1/completions", json={"model": NAME, "temperature": 0, "max_tokens": 8, **body})


@pytest.fixture(scope="module")
def prompt():
    return asyncio.run(_prompt())


async def _prompt():
    models = ScriptedModels(otherwise=Say("answer x"))
    await play(SCENES[0].revision, SCENES[0].opened, models=models, executor=SCENES[0].executor())
    return models.completions[0].prompt


def test_text_and_its_ids_are_the_same_prompt(asking, prompt, codec):
    by_text, by_ids = (asking(prompt=one, logprobs=1).json() for one in (prompt, codec.encode(prompt)))
    assert by_text["choices"] == by_ids["choices"]
    logprobs = by_text["choices"][0]["logprobs"]
    assert "".join(logprobs["tokens"]) == by_text["choices"][0]["text"]
    assert all(one <= 0 for one in logprobs["token_logprobs"])
    assert by_text["usage"]["prompt_tokens"] == len(codec.encode(prompt))


def test_an_answer_ends_at_its_limit_or_its_mark(asking, prompt):
    cut, whole = (asking(prompt=prompt, max_tokens=most).json() for most in (1, 64))
    assert (cut["choices"][0]["finish_reason"], cut["usage"]["completion_tokens"]) == ("length", 1)
    assert whole["choices"][0]["finish_reason"] == "stop"
    assert STOP not in whole["choices"][0]["text"]


def test_a_stream_is_one_event_and_its_end(asking, prompt):
    whole, answer = asking(prompt=prompt).json(), asking(prompt=prompt, stream=True)
    assert answer.headers["content-type"] == "text/event-stream"
    event, done, _ = answer.text.split("\n\n")
    assert json.loads(event.removeprefix("data: "))["choices"] == whole["choices"]
    assert done == "data: [DONE]"


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"prompt": "x", "model": "other"}, 404, "'other' does not exist; this is 'tiny'"),
        ({"prompt": "x", "stop": ["\n"]}, 400, "stop: turns end at"),
        ({"prompt": ""}, 400, "0 tokens"),
        ({"prompt": "x" * 3_000}, 400, "the context has 512"),
        ({"prompt": "x", "max_tokens": 0}, 400, "max_tokens"),
        ({"prompt": [10**9]}, 502, "Error"),
    ],
)
def test_what_cannot_be_answered_is_refused_and_the_next_is_answered(asking, prompt, body, status, said):
    answer = asking(**body)
    assert (answer.status_code, said in answer.json()["error"]["message"]) == (status, True), answer.text
    assert asking(prompt=prompt).status_code == 200


def test_probes_are_answered_and_there_is_no_chat(url):
    assert httpx.get(f"{url}/health").json() == {"status": "ok"}
    assert [one["id"] for one in httpx.get(f"{url}/v1/models").json()["data"]] == [NAME]
    chat = httpx.post(f"{url}/v1/chat/completions", json={"model": NAME, "messages": []})
    assert (chat.status_code, chat.json()["error"]["code"]) == (404, NotFoundError.code)
    assert httpx.post(f"{url}/v1/completions", content=b"").status_code == 400


def test_another_format_is_not_served(taught, tmp_path):
    folder = copytree(taught, tmp_path / "other")
    (folder / "toolorchestra.json").write_text(json.dumps({"formatHash": "0" * 16}))
    with pytest.raises(InvalidRunError, match="policy format 0000000000000000"):
        open_service(folder, NAME)


def test_the_command_serves_until_it_is_told_to_stop(taught):
    command = [sys.executable, "-m", "toolorchestra.training.grpo", "serve", str(taught), "--name", NAME, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline().split()[-1]
        assert httpx.get(f"{url}/models").status_code == 200
        process.terminate()
        assert process.wait(30) == 0
