"""Secrets of a cluster: read by name, remembered for a moment, refused with the command that helps."""

import base64
from collections import Counter

import pytest
from typing_extensions import override

from toolorchestra.core.errors import ForbiddenError, NotFoundError, UnavailableError, UpstreamError
from toolorchestra.kit import cluster_secrets
from toolorchestra.kit.cluster_secrets import ClusterSecrets, NoSecrets, SecretForbiddenError
from toolorchestra.kit.kubernetes import SECRETS
from toolorchestra.kit.testing import MemoryKubernetes


class Counting(MemoryKubernetes):
    """Counts reads."""

    def __init__(self):
        super().__init__()
        self.reads = Counter()

    @override
    async def get(self, of, name, *, namespace):
        self.reads[namespace, name] += 1
        return await super().get(of, name, namespace=namespace)


def secret(namespace="acme", **values):
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"metadata": {"name": "provider", "namespace": namespace}, "data": data}


@pytest.fixture
def api():
    api = Counting()
    api.put(SECRETS, secret(key="s3cr3t"))
    return api


@pytest.fixture
def clock(monkeypatch):
    """Seconds that a test moves."""

    class Clock:
        now = 1_000.0

        def monotonic(self):
            return self.now

    monkeypatch.setattr(cluster_secrets, "time", Clock())
    return cluster_secrets.time


async def test_a_secret_is_asked_for_once_in_a_while(api, clock):
    secrets = ClusterSecrets(api)
    for _ in range(3):
        assert await secrets.read("acme", "provider", "key") == "s3cr3t"
    assert api.reads["acme", "provider"] == 1
    api.put(SECRETS, secret(key="new"))
    clock.now += cluster_secrets.FRESH_S
    assert await secrets.read("acme", "provider", "key") == "new"


async def test_a_secret_of_another_namespace_is_another(api):
    with pytest.raises(NotFoundError, match="namespace 'other'"):
        await ClusterSecrets(api).read("other", "provider", "key")


async def test_what_is_missing_is_said_with_the_command_and_looked_for_again_soon(api, clock):
    secrets = ClusterSecrets(api)
    with pytest.raises(NotFoundError, match="kubectl create secret generic absent --namespace acme --from-literal=key=…"):
        await secrets.read("acme", "absent", "key")
    with pytest.raises(NotFoundError, match=r"has no key 'other'.*kubectl edit secret provider --namespace acme"):
        await secrets.read("acme", "provider", "other")
    clock.now += cluster_secrets.ABSENT_S
    with pytest.raises(NotFoundError):
        await secrets.read("acme", "absent", "key")
    assert api.reads["acme", "absent"] == 2


async def test_a_missing_right_is_said_with_the_binding(api, clock):
    api.fail("get", SECRETS, ForbiddenError('User "x" cannot get resource "secrets"'))
    secrets = ClusterSecrets(api, readers=("platform:orchestrator", "platform:worker"))
    with pytest.raises(SecretForbiddenError) as refused:
        await secrets.read("acme", "provider", "key")
    assert refused.value.hint == (
        "let it: kubectl create rolebinding toolorchestra-secret-reader --namespace acme "
        "--clusterrole=toolorchestra-secret-reader --serviceaccount=platform:orchestrator --serviceaccount=platform:worker"
    )
    api.fail("get", SECRETS, None)
    clock.now += cluster_secrets.ABSENT_S
    assert await secrets.read("acme", "provider", "key") == "s3cr3t"


async def test_a_known_value_is_used_while_the_server_is_away_and_not_for_ever(api, clock):
    secrets = ClusterSecrets(api)
    await secrets.read("acme", "provider", "key")
    api.fail("get", SECRETS, UpstreamError("away"))
    clock.now += cluster_secrets.FRESH_S
    assert await secrets.read("acme", "provider", "key") == "s3cr3t"
    with pytest.raises(UnavailableError, match="cannot be read now: away"):
        await secrets.read("acme", "unknown", "key")
    clock.now += cluster_secrets.AWAY_S
    with pytest.raises(UnavailableError):
        await secrets.read("acme", "provider", "key")


async def test_a_value_that_is_no_text_is_not_shown(api):
    api.put(SECRETS, {"metadata": {"name": "provider", "namespace": "acme"}, "data": {"key": "/w=="}})
    with pytest.raises(NotFoundError, match="is not text") as refused:
        await ClusterSecrets(api).read("acme", "provider", "key")
    assert refused.value.__cause__ is None


async def test_the_sandbox_is_kept_from_all_of_them():
    with pytest.raises(NotFoundError, match="queued or inline"):
        await NoSecrets().read("acme", "provider", "key")
