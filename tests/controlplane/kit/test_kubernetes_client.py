"""The client of a real API server keeps the contract, and translates what the server refuses."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from aiohttp.test_utils import TestServer

from infra.cluster.local import LocalControlPlane
from tests.support.kubernetes_contract import CASES, Case, job, secret
from toolorchestra.core.errors import (
    ForbiddenError,
    InvalidRequestError,
    UnauthenticatedError,
    UnavailableError,
    UpstreamError,
)
from toolorchestra.kit import kubernetes_client
from toolorchestra.kit.kubernetes import JOBS, SECRETS, TOKEN_REVIEWS, ExpiredError, KubernetesApi
from toolorchestra.kit.kubernetes_client import open_kubernetes


@pytest.fixture
async def api(api_server: LocalControlPlane) -> AsyncIterator[KubernetesApi]:
    async with open_kubernetes(field_manager="test", kubeconfig=api_server.kubeconfig) as client:
        yield client


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
async def test_it_keeps_the_contract(case: Case, api: KubernetesApi, namespace: str) -> None:
    await case(api, namespace)


async def test_a_long_list_is_read_in_pages(api: KubernetesApi, namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes_client, "PAGE", 3)
    for number in range(8):
        await api.create(SECRETS, secret(namespace, f"s{number}"), namespace=namespace)
    found = await api.list(SECRETS, namespace=namespace)
    assert sorted(one["metadata"]["name"] for one in found.items) == [f"s{number}" for number in range(8)]


async def test_an_invalid_object_is_refused_with_the_field(api: KubernetesApi, namespace: str) -> None:
    body = job(namespace)
    body["spec"]["template"]["spec"]["restartPolicy"] = "Sometimes"
    with pytest.raises(InvalidRequestError, match="restartPolicy") as refused:
        await api.create(JOBS, body, namespace=namespace)
    assert refused.value.param == "spec.template.spec.restartPolicy"


@pytest.mark.parametrize("told", ["at once", "in the stream"])
async def test_a_version_that_is_too_old_is_expired(told: str, api_server: LocalControlPlane, tmp_path: Path) -> None:
    """A young server still has all its history, so one that has not says what real ones say."""
    gone = {"kind": "Status", "status": "Failure", "reason": "Expired", "code": 410, "message": "too old resource version"}

    async def answer(_: web.Request) -> web.Response:
        if told == "at once":
            return web.json_response(gone, status=410)
        return web.json_response({"type": "ERROR", "object": gone})

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with TestServer(app) as server:
        document = yaml.safe_load(api_server.kubeconfig.read_text())
        document["clusters"][0]["cluster"] = {"server": str(server.make_url("/"))}
        (tmp_path / "config").write_text(yaml.safe_dump(document))
        async with open_kubernetes(field_manager="test", kubeconfig=tmp_path / "config") as client:
            with pytest.raises(ExpiredError, match="too old"):
                async for _ in client.watch(SECRETS, namespace="default", since="1", timeout_s=2):
                    pass


async def test_a_token_is_reviewed(api: KubernetesApi) -> None:
    review = await api.create(TOKEN_REVIEWS, {"spec": {"token": "nonsense"}}, namespace=None)
    assert not review["status"].get("authenticated")


async def test_what_rbac_forbids_says_what_is_missing(
    api_server: LocalControlPlane, namespace: str, signed_in_as: Callable[[str], Path]
) -> None:
    async with open_kubernetes(field_manager="test", kubeconfig=signed_in_as(namespace)) as stranger:
        with pytest.raises(ForbiddenError, match='cannot get resource "secrets"'):
            await stranger.get(SECRETS, "one", namespace=namespace)


async def test_a_wrong_token_is_not_signed_in(api_server: LocalControlPlane, tmp_path: Path) -> None:
    document = yaml.safe_load(api_server.kubeconfig.read_text())
    document["users"][0]["user"] = {"token": "wrong"}
    (tmp_path / "config").write_text(yaml.safe_dump(document))
    async with open_kubernetes(field_manager="test", kubeconfig=tmp_path / "config") as stranger:
        with pytest.raises(UnauthenticatedError):
            await stranger.get(SECRETS, "one", namespace="default")


async def test_a_server_that_is_away_is_a_retryable_error(api_server: LocalControlPlane, tmp_path: Path) -> None:
    document = yaml.safe_load(api_server.kubeconfig.read_text())
    document["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    (tmp_path / "config").write_text(yaml.safe_dump(document))
    async with open_kubernetes(field_manager="test", kubeconfig=tmp_path / "config") as client:
        with pytest.raises(UpstreamError, match="cannot be reached") as away:
            await client.get(SECRETS, "one", namespace="default")
    assert away.value.retryable


async def test_a_token_of_an_exec_plugin_signs_in(api_server: LocalControlPlane, tmp_path: Path) -> None:
    credential = (
        f'{{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{{"token":"{api_server.token}"}}}}'
    )
    document = yaml.safe_load(api_server.kubeconfig.read_text())
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "echo",
        "args": [credential],
        "interactiveMode": "Never",
    }
    document["users"][0]["user"] = {"exec": plugin}
    (tmp_path / "config").write_text(yaml.safe_dump(document))
    async with open_kubernetes(field_manager="test", kubeconfig=tmp_path / "config") as client:
        assert await client.has(JOBS)


@pytest.mark.parametrize("broken", ["absent", "nonsense", "context"])
async def test_a_kubeconfig_that_cannot_be_used_names_the_file(
    broken: str, api_server: LocalControlPlane, tmp_path: Path
) -> None:
    path = tmp_path / "config" if broken != "context" else api_server.kubeconfig
    if broken == "nonsense":
        path.write_text("a: [1")
    with pytest.raises(UnavailableError, match=str(path)):
        async with open_kubernetes(field_manager="test", kubeconfig=path, context="no-such"):
            pass
