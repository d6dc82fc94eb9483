"""vLLM dies under its callers and comes back: what they are told, what it costs them, and that the platform needs no care."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

from tests.support.platform import Platform, wait_until
from tests.support.vllm import Vllm
from tests.vllm.served import ENDLESS, say, state
from toolorchestra.executors.testing import CountingProvider

pytestmark = pytest.mark.timeout(420, func_only=True)


def test_vllm_is_killed_under_runs_and_started_again(
    platform: Platform, vllm: Vllm, provider: CountingProvider, background: ThreadPoolExecutor
) -> None:
    turns = [{"call": ["tiny", {"question": "Go on and on."}]}, {"text": "It gave no answer."}]
    known = platform.runs()
    with platform.openai(max_retries=0, timeout=100) as client:
        stream = client.chat.completions.create(model="tiny", messages=say("On and on."), stream=True, **ENDLESS)
        run_id = platform.new_run(known)
        began = next(text for text in map(_text, stream) if text)
        orchestrated = background.submit(
            client.chat.completions.create, model="scripted", messages=say(f"Ask it [[{json.dumps({'turns': turns})}]]")
        )
        wait_until(lambda: vllm.at_work() == 2, seconds=60, pause=0.01)
        vllm.kill()
        killed = time.monotonic()
        with pytest.raises(openai.APIError, match="the connection to the model 'tiny' broke"):
            list(stream)
        told = orchestrated.result()
        assert time.monotonic() - killed < 30
        _check_what_was_under_way(platform, run_id, began, told)

        _check_while_it_is_away(platform, client)
        vllm.start()
        platform.http().post("/v1/tools/check").raise_for_status()
        assert state(platform, "tiny")["ready"] is True
        answer = client.chat.completions.create(model="tiny", messages=say("And now?"), max_tokens=10)
        assert answer.choices[0].message.content
        again = client.chat.completions.create(model="by-price", messages=say("And as a tool?"))
        assert again.model_extra["toolorchestra"]["tools"] == ["brief"]


def _check_what_was_under_way(platform: Platform, run_id: str, began: str, told: Any) -> None:
    assert began
    wait_until(lambda: platform.ended(run_id))
    ((kind, amount),) = platform.entries(run_id)
    assert (kind, amount > 0) == ("estimate", True)
    extension = told.model_extra["toolorchestra"]
    assert (told.choices[0].message.content, extension["status"]) == ("It gave no answer.", "completed")
    run = platform.http().get(f"/v1/runs/{extension['run_id']}").json()
    call = run["turns"][0]["calls"][0]
    assert call["status"] == "error"
    assert "the model 'tiny'" in call["result"]
    assert extension["cost_nano_usd"] == platform.charged(extension["run_id"]) > 0


def _check_while_it_is_away(platform: Platform, client: openai.OpenAI) -> None:
    known = platform.runs()
    with pytest.raises(openai.APIStatusError, match="cannot be reached"):
        client.chat.completions.create(model="tiny", messages=say("Anybody there?"))
    (refused,) = platform.runs() - known
    assert platform.charged(refused) == 0
    platform.http().post("/v1/tools/check").raise_for_status()
    found = state(platform, "tiny")
    assert (found["ready"], found["reason"]) == (False, "Unreachable")
    with pytest.raises(openai.APIStatusError, match="cannot be reached"):
        client.chat.completions.create(model="tiny", messages=say("Still nobody?"))


def _text(chunk: Any) -> str:
    return "".join(choice.delta.content or "" for choice in chunk.choices)


def test_in_the_end_nothing_is_held(platform: Platform, vllm: Vllm) -> None:
    wait_until(lambda: platform.sql("SELECT count(*) FROM runs WHERE state = 'running'") == [(0,)])
    assert vllm.at_work() == 0
    assert platform.sql("SELECT count(*) FROM holds WHERE state = 'open'") == [(0,)]
    assert platform.violations() == []
    assert all('"unexpected_error"' not in replica.log.read_text() for replica in platform.replicas)
