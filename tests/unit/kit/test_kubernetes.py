"""The API server in memory does what a real one does, as far as the platform uses it."""

import pytest

from tests.support.kubernetes_contract import CASES, Case, secret
from toolorchestra.core.errors import ForbiddenError, InvalidRequestError
from toolorchestra.kit.kubernetes import ACCESS_REVIEWS, SECRETS, ExpiredError, KubernetesObject, ResourceType
from toolorchestra.kit.testing import MemoryKubernetes


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
async def test_it_keeps_the_contract(case: Case) -> None:
    await case(MemoryKubernetes(), "team")


async def test_a_watch_from_before_what_was_compacted_is_refused() -> None:
    api = MemoryKubernetes()
    await api.apply(SECRETS, secret("team"))
    api.forget_history()
    with pytest.raises(ExpiredError):
        async for _ in api.watch(SECRETS, namespace="team", since="0", timeout_s=1):
            pass


async def test_requests_can_be_made_to_fail_and_to_work_again() -> None:
    api = MemoryKubernetes()
    api.fail("get", SECRETS, ForbiddenError('secrets "one" is forbidden'))
    with pytest.raises(ForbiddenError):
        await api.get(SECRETS, "one", namespace="team")
    api.fail("get", SECRETS, None)
    assert await api.get(SECRETS, "one", namespace="team") is None


async def test_reviews_are_answered_by_who_was_given() -> None:
    def answer(_: ResourceType, body: KubernetesObject) -> KubernetesObject:
        return {"allowed": body["spec"]["user"] == "jane"}

    api = MemoryKubernetes(reviews=answer)
    review = await api.create(ACCESS_REVIEWS, {"spec": {"user": "jane"}}, namespace=None)
    assert review["status"] == {"allowed": True}
    with pytest.raises(InvalidRequestError):
        await MemoryKubernetes().create(ACCESS_REVIEWS, {"spec": {}}, namespace=None)


async def test_it_counts_writes_and_lets_users_edit() -> None:
    api = MemoryKubernetes()
    api.put(SECRETS, secret("team", a="QQ=="))
    edited = api.put(SECRETS, secret("team", a="Qg=="))
    assert edited["metadata"]["generation"] == 2
    await api.apply(SECRETS, secret("team", b="Qg=="))
    assert api.writes == [("apply", "secrets", "one")]
