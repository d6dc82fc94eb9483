"""Who may administer and who may ask, by tokens that a real API server made and reviews."""

import time
from pathlib import Path

import httpx

from tests.controlplane.registry.conftest import AUDIENCE, ClusterPlatform
from tests.support.platform import manifest, wait_until
from toolorchestra.executors.testing import CountingProvider

REVOKED_S = 20.0  # the API server itself remembers a good token for ten seconds


def test_rbac_decides_what_an_administrator_may_do(serving: ClusterPlatform) -> None:
    admin, viewer = serving.token("keeper"), serving.token("viewer")
    refused = serving.as_admin(admin, "POST", "/keys", json={"name": "ci"})
    assert refused.status_code == 403
    said = refused.json()["error"]["message"]
    assert f"may not create keys.toolorchestra.dev in namespace {serving.namespace!r}" in said
    assert f"--clusterrole=toolorchestra-admin --serviceaccount={serving.namespace}:keeper" in said

    serving.bind("toolorchestra-admin", "keeper")
    serving.bind("toolorchestra-view", "viewer")
    wait_until(lambda: serving.as_admin(admin, "GET", "/keys").status_code == 200)
    wait_until(lambda: serving.as_admin(viewer, "GET", "/usage").status_code == 200)

    created = serving.as_admin(admin, "POST", "/keys", json={"name": "ci"})
    assert created.status_code == 201
    assert serving.http(created.json()["key"]).get("/v1/models").status_code == 200
    assert serving.as_admin(admin, "DELETE", f"/keys/{created.json()['id']}").status_code == 200
    assert serving.as_admin(viewer, "GET", "/keys").status_code == 403
    assert serving.as_admin(viewer, "POST", "/keys", json={"name": "mine"}).status_code == 403
    adjustment = {"amount_usd": "5", "credit": True, "reason": "a gift to myself"}
    assert serving.as_admin(admin, "POST", "/adjustments", json=adjustment).status_code == 403


def test_rights_end_at_the_namespace(serving: ClusterPlatform) -> None:
    serving.bind("toolorchestra-admin", "tenant-admin")
    admin = serving.token("tenant-admin")
    wait_until(lambda: serving.as_admin(admin, "GET", "/keys").status_code == 200)
    other = httpx.get(f"{serving.url}/admin/v1/tenants/default/keys", headers={"authorization": f"Bearer {admin}"})
    assert other.status_code == 403


def test_a_person_uses_the_token_of_their_kubeconfig(serving: ClusterPlatform) -> None:
    """It is made for the API server; the author stands in the ledger under the user's name."""
    token = serving.cluster.token
    assert serving.as_admin(token, "POST", "/keys", json={"name": "ci"}).status_code == 201
    adjustment = {"amount_usd": "1", "credit": True, "reason": "an outage"}
    assert serving.as_admin(token, "POST", "/adjustments", json=adjustment).json()["author"]


def test_nonsense_is_refused_and_asked_about_once(serving: ClusterPlatform) -> None:
    answers = [serving.as_admin("nonsense", "GET", "/keys") for _ in range(3)]
    assert {answer.status_code for answer in answers} == {401}
    assert "nonsense" not in answers[0].text
    assert "nonsense" not in serving.replicas[-1].log.read_text()


def test_a_service_account_asks_with_its_token_and_usage_names_it(serving: ClusterPlatform) -> None:
    assert serving.ask(serving.caller("batch-job")).status_code == 200
    usage = serving.as_admin(serving.cluster.token, "GET", "/usage?group_by=key").json()["data"]
    (spent,) = [row["spent_usd"] for row in usage if row["key"] == "sa:batch-job"]
    assert float(spent) > 0
    assert serving.violations() == []


def test_a_token_for_another_audience_says_which_is_needed(serving: ClusterPlatform) -> None:
    refused = serving.http(serving.token("app", audience=None)).get("/v1/models")
    assert refused.status_code == 401
    said = refused.json()["error"]["message"]
    assert "kubernetes.default.svc" in said
    assert f"for the audience {AUDIENCE!r}" in said
    assert f"kubectl create token NAME --namespace TENANT --audience {AUDIENCE}" in said


def test_a_namespace_that_is_not_served_is_told_so(serving: ClusterPlatform) -> None:
    refused = serving.http(serving.token("app", namespace="default")).get("/v1/models")
    assert refused.status_code == 403
    assert "watchNamespaces" in refused.json()["error"]["message"]


def test_a_deleted_service_account_is_refused_soon_while_api_keys_go_on(serving: ClusterPlatform) -> None:
    key = serving.as_admin(serving.cluster.token, "POST", "/keys", json={"name": "ci"}).json()["key"]
    client = serving.caller("short")
    assert client.get("/v1/models").status_code == 200
    serving.cluster.kubectl("delete", "serviceaccount", "short", "--namespace", serving.namespace)
    began = time.monotonic()
    wait_until(lambda: client.get("/v1/models").status_code == 401, seconds=REVOKED_S, pause=0.2)
    print(f"a deleted ServiceAccount was refused after {time.monotonic() - began:.1f} s")
    assert serving.http(key).get("/v1/models").status_code == 200


def test_a_policy_is_the_operators_to_enforce_and_a_tenant_without_one_gets_the_default(
    cluster: ClusterPlatform, provider: CountingProvider
) -> None:
    """The policy stands in the cluster and not in the ledger: without an operator it holds nothing open."""
    cluster.apply(manifest("BudgetPolicy", "default", {"limits": {"total": "5"}}))
    cluster.start()
    assert cluster.caller().get("/v1/models").status_code == 200
    assert cluster.sql("SELECT count(*) FROM policies") == [(0,)]
    cluster.delete("budgetpolicy", "default")
    cluster.start()
    assert cluster.caller("another").get("/v1/models").status_code == 200
    assert cluster.sql("SELECT tenant, source FROM policies") == [(cluster.namespace, "default")]
    del provider


def test_the_token_file_is_refused_beside_kubernetes(cluster: ClusterPlatform, tmp_path: Path) -> None:
    replica = cluster.launch(TOOLORCHESTRA_ADMIN_TOKEN_FILE=str(tmp_path / "token"))
    assert replica.process.wait(timeout=30) == 2
    assert "remove TOOLORCHESTRA_ADMIN_TOKEN_FILE" in replica.log.read_text()


def test_manifests_are_refused_beside_a_cluster(cluster: ClusterPlatform, tmp_path: Path) -> None:
    replica = cluster.launch(TOOLORCHESTRA_MANIFESTS=f'["{tmp_path}"]')
    assert replica.process.wait(timeout=30) == 2
    said = replica.log.read_text()
    assert "TOOLORCHESTRA_MANIFESTS" in said
