"""One format, three engines: what a manager reads and writes has the same token ids wherever it is trained or served."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.training import train
from tests.support.vllm import MODEL, Vllm, set_up
from tests.vllm.conversations import conversations
from toolorchestra.cli.embedded.local_model import local_model_part
from toolorchestra.cli.embedded.supervisor import Supervisor

COUNT = 200


@pytest.mark.timeout(600, func_only=True)
async def test_two_hundred_conversations_have_equal_ids_everywhere(
    vllm: Vllm, built_domain: Callable[[str], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = list(conversations(COUNT, built_domain))
    assert len(set(texts)) == COUNT
    encoded = train("tests/vllm/encode.py", str(set_up() / "model"), stdin=json.dumps(texts))
    assert encoded.returncode == 0, encoded.stdout
    by_hugging_face = json.loads(encoded.stdout.splitlines()[-1])
    by_vllm = [asked(f"{vllm.url}/tokenize", {"model": MODEL, "prompt": text, "add_special_tokens": False}) for text in texts]
    part = local_model_part()
    async with Supervisor(tmp_path / "platform") as supervisor:
        await supervisor.start(part)
        url = part.url.removesuffix("/v1")
        by_llama = [asked(f"{url}/tokenize", {"content": text, "add_special": False, "parse_special": True}) for text in texts]
    assert by_vllm == by_hugging_face
    assert by_llama == by_hugging_face
    with capsys.disabled():
        print(
            f"\none format: {COUNT} conversations, {sum(map(len, by_vllm))} tokens, equal in Hugging Face, llama.cpp and vLLM"
        )


def asked(url: str, body: dict[str, Any]) -> list[int]:
    found: list[int] = httpx.post(url, json=body, timeout=60).raise_for_status().json()["tokens"]
    return found
