"""Models that KServe serves answer at private addresses: open for them alone, because only the operator writes where they are."""

import asyncio
from collections.abc import Sequence

import httpx2
import pytest

from toolorchestra.core.chat import Meter
from toolorchestra.core.errors import EgressDeniedError
from toolorchestra.core.functions import ExpertTarget
from toolorchestra.core.resources import ExpertModel
from toolorchestra.core.testing import an_expert
from toolorchestra.executors.assembly import Tally
from toolorchestra.executors.upstream import Post, StatusError, Upstream
from toolorchestra.kit.cluster_secrets import NoSecrets
from toolorchestra.kit.egress import EgressGuard

URL = "http://model.team-a.svc.cluster.local/v1"


async def private(host: str, port: int) -> Sequence[str]:
    return ["10.255.255.1"]


async def metadata(host: str, port: int) -> Sequence[str]:
    return ["169.254.169.254"]


async def call(expert: ExpertModel, guard: EgressGuard) -> None:
    target = ExpertTarget(namespace="team-a", name="model", spec=expert.spec, base_url=URL)
    upstream = Upstream(guard, NoSecrets())
    try:
        post = Post(target, "chat/completions", {"model": "m", "messages": [], "max_tokens": 1}, {})
        async with asyncio.timeout(0.5), upstream.open(post, Tally(Meter(), 1, 1)):
            pass
    finally:
        await upstream.aclose()


async def test_a_served_model_is_called_at_a_private_address() -> None:
    """Nobody answers there, or it is no model; the connection was allowed."""
    with pytest.raises((TimeoutError, httpx2.RequestError, StatusError)):
        await call(an_expert("model", kserve={"storageUri": "hf://org/model"}), EgressGuard(resolver=private))


async def test_an_endpoint_at_a_private_address_is_not() -> None:
    with pytest.raises(EgressDeniedError, match="a private address"):
        await call(an_expert("model", endpoint={"baseUrl": URL}), EgressGuard(resolver=private))


async def test_no_model_is_served_at_the_metadata_address() -> None:
    with pytest.raises(EgressDeniedError, match="metadata"):
        await call(an_expert("model", kserve={"storageUri": "hf://org/model"}), EgressGuard(resolver=metadata))
