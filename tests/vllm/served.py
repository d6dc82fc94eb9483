"""Experts on the real vLLM, and what the tests ask and see of them."""

from typing import Any

from tests.support.platform import Platform, manifest
from tests.support.vllm import MODEL, Vllm
from toolorchestra.core.pricing import Price

PRICE = Price(input=150_000_000, output=600_000_000, cached=30_000_000)
PRICING = {"input": "0.15", "output": "0.60", "cachedInput": "0.03"}
CONTEXT_TOKENS = 2048
# The model is not allowed to stop, so that the length of an answer is its limit.
ENDLESS: dict[str, Any] = {"logit_bias": {"2": -100}}


def served(name: str, vllm: Vllm, model: str = MODEL, **spec: object) -> dict[str, object]:
    """An ExpertModel on vLLM; its base URL says nothing of ``/v1``."""
    body = {
        "description": "A very small model.",
        "model": model,
        "endpoint": {"baseUrl": vllm.url},
        "pricing": PRICING,
        "contextTokens": CONTEXT_TOKENS,
        "maxOutputTokens": 1500,
        "timeout": "100s",
        "temperature": 0,
        **spec,
    }
    return manifest("ExpertModel", name, body)


def say(content: str) -> Any:
    """The messages of one question."""
    return [{"role": "user", "content": content}]


def state(platform: Platform, name: str) -> dict[str, Any]:
    """What the platform says of a tool or an expert."""
    listed = platform.http().get("/v1/tools").json()["data"]
    return next(one for one in listed if one["name"] == name)
