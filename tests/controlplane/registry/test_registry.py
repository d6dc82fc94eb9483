"""Objects of a real API server as the real orchestrator serves them: applied, changed, broken, deleted, and while nobody answers."""

import base64
import statistics
import threading
import time
from contextlib import closing
from pathlib import Path

import httpx

from infra.cluster.local import LocalControlPlane
from tests.controlplane.registry.conftest import (
    PLATFORM_NAMESPACE,
    ClusterPlatform,
    MakePlatform,
    calculator,
    orchestrator,
    sign_in,
)
from tests.support.cluster import control_plane
from tests.support.crds import Server, install_crds
from tests.support.platform import expert, manifest, wait_until
from toolorchestra.executors.testing import CountingProvider

APPLIES = 30
SOON_S = 1.0


def condition(status: str, reason: str, message: str = "") -> dict[str, str]:
    return {
        "type": "Ready",
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }


def test_what_is_applied_can_be_called_and_asked(serving: ClusterPlatform) -> None:
    serving.apply(calculator("sum"))
    client = serving.caller()
    wait_until(lambda: "sum" in serving.tools(client))
    assert {"main", "one"} <= {model["id"] for model in client.get("/v1/models").json()["data"]}
    called = client.post("/v1/tools/sum/call", json={"arguments": {"expression": "6*7"}})
    assert called.json()["content"] == "42"
    assert serving.ask(client).status_code == 200
    assert serving.violations() == []


def test_from_apply_to_callable_in_less_than_a_second(serving: ClusterPlatform) -> None:
    client = serving.caller()
    client.get("/v1/tools")
    took = []
    with closing(Server(serving.cluster, serving.namespace)) as server:
        for number in range(APPLIES):
            name = f"tool-{number}"
            body = calculator(name) | {"metadata": {"name": name, "namespace": serving.namespace}}
            assert server.create(body, dry_run=False) == ""
            began = time.monotonic()
            wait_until(lambda name=name: name in serving.tools(client), seconds=10, pause=0.002)
            assert client.post(f"/v1/tools/{name}/call", json={"arguments": {"expression": "1+1"}}).json()["content"] == "2"
            took.append((time.monotonic() - began) * 1_000)
    p50, p95 = statistics.median(took), statistics.quantiles(took, n=20)[-1]
    print(f"apply to called, {APPLIES} applies: p50 {p50:.0f} ms, p95 {p95:.0f} ms")
    assert p95 < SOON_S * 1_000


def test_a_changed_expert_is_what_the_next_run_asks(cluster: ClusterPlatform, provider: CountingProvider) -> None:
    with CountingProvider() as other:
        cluster.allow.append(f"127.0.0.1:{other.port}")
        cluster.apply(expert("math", provider, model="qwen-math"), orchestrator())
        cluster.start()
        client = cluster.caller()
        assert cluster.ask(client).status_code == 200
        assert (calls(provider) > 0, calls(other)) == (True, 0)
        cluster.apply(expert("math", other, model="deepseek-math"))
        time.sleep(0.2)
        before = calls(provider)
        assert cluster.ask(client).status_code == 200
        assert (calls(provider), calls(other) > 0) == (before, True)


def calls(provider: CountingProvider) -> int:
    """How many completions it charged for."""
    return len(provider.bill.entries)


def test_a_swap_while_the_old_status_stands_goes_to_the_new_endpoint(
    serving: ClusterPlatform, provider: CountingProvider
) -> None:
    """The status still holds the URL of the earlier spec, and no operator is there to correct it."""
    serving.apply(expert("swapped", provider, endpoint={"baseUrl": "http://10.0.0.1/v1"}))
    serving.patch_status("expertmodel", "swapped", url="http://10.0.0.1/v1", conditions=[condition("True", "Ready")])
    client = serving.caller()
    wait_until(lambda: serving.tools(client).get("swapped", {}).get("ready") is True)
    assert "10.0.0.1" in serving.ask(client, "swapped").text
    serving.apply(expert("swapped", provider, endpoint={"baseUrl": "http://10.0.0.2/v1"}))
    wait_until(lambda: "10.0.0.2" in serving.ask(client, "swapped").text)


def test_a_deleted_tool_is_gone_and_a_deleted_model_does_not_exist(serving: ClusterPlatform) -> None:
    serving.apply(calculator("passing"), orchestrator("transient"))
    client = serving.caller()
    wait_until(lambda: "passing" in serving.tools(client) and serving.ask(client, "transient").status_code == 200)
    serving.delete("tool", "passing")
    serving.delete("orchestrator", "transient")
    wait_until(lambda: "passing" not in serving.tools(client))
    wait_until(lambda: serving.ask(client, "transient").status_code == 404)


def test_a_broken_object_is_told_beside_the_good_ones_and_its_last_good_version_stays(serving: ClusterPlatform) -> None:
    """A JSON Schema that is none passes the CRD: its content is opaque to CEL."""
    serving.apply(calculator("whole"), calculator("bad"))
    client = serving.caller()
    wait_until(lambda: {"whole", "bad"} <= set(serving.tools(client)))
    serving.apply(calculator("bad", parameters={"type": "no such type"}))
    wait_until(lambda: _problems(serving, client, "bad") != [])
    (message,) = _problems(serving, client, "bad")
    assert "spec.parameters" in message
    assert "its last good version is used" in message
    assert {"whole", "bad"} <= set(serving.tools(client))
    serving.apply(calculator("bad"))
    wait_until(lambda: _problems(serving, client, "bad") == [])


def _problems(platform: ClusterPlatform, client: httpx.Client, tool: str) -> list[str]:
    found = client.get("/v1/tools").raise_for_status().json()["problems"]
    return [problem["message"] for problem in found if problem["source"] == f"Tool {platform.namespace}/{tool}"]


def test_what_the_operator_saw_is_shown_and_never_gates(serving: ClusterPlatform) -> None:
    serving.apply(calculator("seen"))
    serving.patch_status("tool", "seen", conditions=[condition("False", "Unreachable", "nobody listens at 10.0.0.1")])
    client = serving.caller()
    wait_until(lambda: serving.tools(client).get("seen", {}).get("reason") == "Unreachable")
    assert serving.tools(client)["seen"]["message"] == "nobody listens at 10.0.0.1"
    assert client.post("/v1/tools/seen/call", json={"arguments": {"expression": "2"}}).json()["status"] == "ok"


def test_operations_come_from_the_status(serving: ClusterPlatform) -> None:
    serving.apply(manifest("Tool", "remote", {"description": "A server.", "mcp": {"url": "http://10.0.0.1/mcp"}}))
    operation = {
        "name": "look",
        "description": "Looks.",
        "parameters": {"type": "object"},
        "schemaHash": "h",
        "state": "Accepted",
    }
    drifted = operation | {"name": "changed", "state": "Drifted"}
    serving.patch_status("tool", "remote", conditions=[condition("True", "Ready")], operations=[operation, drifted])
    client = serving.caller()
    wait_until(lambda: "remote__look" in serving.tools(client))
    assert "remote__changed" not in serving.tools(client)


def test_without_an_operator_tools_are_discovered_and_nothing_is_written(serving: ClusterPlatform) -> None:
    serving.apply(
        calculator("alone"), manifest("Tool", "lost", {"description": "Lost.", "http": {"url": "http://127.0.0.1:1/"}})
    )
    client = serving.caller()
    wait_until(lambda: serving.tools(client)["alone"]["ready"] is True, seconds=20)
    wait_until(lambda: serving.tools(client)["lost"]["reason"] == "EgressDenied", seconds=20)
    assert serving.tools(client)["one"]["ready"] is True
    for name in ("alone", "lost"):
        assert serving.cluster.kubectl("get", "tool", name, "-n", serving.namespace, "-o", "jsonpath={.status}") == ""


def test_a_key_of_an_expert_comes_from_its_namespace_once_the_tenant_lets_it(
    cluster: ClusterPlatform, provider: CountingProvider
) -> None:
    endpoint = {"baseUrl": provider.url, "apiKeySecretRef": {"name": "provider", "key": "api-key"}}
    cluster.apply(expert("one", provider, endpoint=endpoint))
    cluster.cluster.kubectl("create", "secret", "generic", "provider", "--from-literal=api-key=s3cr3t", "-n", cluster.namespace)
    cluster.start()
    client = cluster.caller()
    refused = cluster.ask(client, "one")
    assert refused.status_code == 503
    command = refused.json()["error"]["message"]
    assert (
        f"kubectl create rolebinding toolorchestra-secret-reader --namespace {cluster.namespace} "
        f"--clusterrole=toolorchestra-secret-reader --serviceaccount={PLATFORM_NAMESPACE}:orchestrator" in command
    )
    words = command[command.index("kubectl create") :].rstrip(")").split()[1:]
    cluster.cluster.kubectl(*words)
    wait_until(lambda: cluster.ask(client, "one").status_code == 200)
    changed = base64.b64encode(b"other").decode()
    cluster.cluster.kubectl(
        "patch", "secret", "provider", "-n", cluster.namespace, "-p", f'{{"data": {{"api-key": "{changed}"}}}}'
    )
    wait_until(lambda: cluster.ask(client, "one").status_code == 200, seconds=15)


def test_a_worker_reads_the_secret_of_a_queued_tool(cluster: ClusterPlatform, provider: CountingProvider) -> None:
    header = {"name": "x-api-key", "secretKeyRef": {"name": "api", "key": "key"}}
    http = {"url": f"{provider.origin}/bill", "headers": [header]}
    parameters = {"type": "object", "properties": {}}
    spec = {"description": "Reads the bill.", "http": http, "parameters": parameters, "execution": "queued"}
    cluster.apply(manifest("Tool", "bill", spec))
    cluster.cluster.kubectl("create", "secret", "generic", "api", "--from-literal=key=s3cr3t", "-n", cluster.namespace)
    cluster.start(TOOLORCHESTRA_PROBE_INTERVAL_S="1")
    cluster.start_worker()
    client = cluster.caller()
    wait_until(lambda: cluster.tools(client).get("bill", {}).get("reason") == "SecretMissing")
    assert "kubectl create rolebinding toolorchestra-secret-reader" in cluster.tools(client)["bill"]["message"]
    cluster.cluster.kubectl(
        "create", "rolebinding", "readers", "--clusterrole=toolorchestra-secret-reader", "-n", cluster.namespace,
        f"--serviceaccount={PLATFORM_NAMESPACE}:orchestrator",
    )  # fmt: skip
    wait_until(lambda: client.post("/v1/tools/bill/call", json={"arguments": {}}).json().get("status") == "ok")
    assert "s3cr3t" not in cluster.workers[-1].log.read_text()


def test_an_object_as_large_as_the_server_takes_arrives_by_watch(serving: ClusterPlatform) -> None:
    """One event is one line of the stream."""
    operation = {"operationId": "look", "description": "x" * 900_000, "responses": {"200": {"description": "ok"}}}
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Large", "version": "1"},
        "servers": [{"url": "https://api.example"}],
        "paths": {"/look": {"get": operation}},
    }
    serving.apply(manifest("Tool", "large", {"description": "Large.", "openapi": {"document": document}}), calculator("after"))
    client = serving.caller()
    wait_until(lambda: {"large", "after"} <= {tool["resource"] for tool in client.get("/v1/tools").json()["data"]})


def test_the_api_server_goes_away_and_comes_back_under_load(
    cluster_platform_on: MakePlatform, provider: CountingProvider, tmp_path: Path
) -> None:
    """Runs go on, with API keys and with tokens that were seen good; what was applied meanwhile is found at once afterwards."""
    with control_plane() as running:
        install_crds(running)
        account = sign_in(running, tmp_path)
        running.kubectl("create", "namespace", "team")
        with cluster_platform_on(running, "team", account, provider) as platform:
            platform.apply(expert("one", provider), orchestrator(), calculator("sum"))
            platform.start()
            client = platform.caller()
            assert platform.ask(client).status_code == 200
            statuses: list[int] = []
            stop = threading.Event()
            load = threading.Thread(target=_ask_until, args=(stop, platform, client, statuses))
            load.start()
            try:
                running.stop()
                time.sleep(8)
                while_away = len(statuses)
                assert httpx.get(f"{platform.url}/readyz").status_code == 200
                running.start()
                platform.apply(calculator("late"))
                wait_until(lambda: "late" in platform.tools(client), seconds=15)
            finally:
                stop.set()
                load.join()
            assert while_away > 5
            assert set(statuses) == {200}
            assert "sum" in platform.tools(client)
            assert platform.violations() == []


def test_it_is_not_ready_before_the_first_list_and_says_why(
    cluster_platform_on: MakePlatform, provider: CountingProvider, tmp_path: Path
) -> None:
    with control_plane(controllers=False) as running:
        account = sign_in_without_kinds(running, tmp_path)
        with cluster_platform_on(running, "default", account, provider) as platform:
            replica = platform.launch()
            wait_until(lambda: "toolorchestra-crds" in _readiness(replica.url), seconds=30)
            install_crds(running)
            platform.wait_for(replica)


def sign_in_without_kinds(running: LocalControlPlane, folder: Path) -> Path:
    """``kubectl auth can-i`` does not know kinds that are not installed, so there is nothing to wait for."""
    path = folder / "kubeconfig"
    path.write_text(running.kubeconfig.read_text())
    return path


def _readiness(url: str) -> str:
    try:
        return httpx.get(f"{url}/readyz").text
    except httpx.HTTPError:
        return ""


def _ask_until(stop: threading.Event, platform: ClusterPlatform, client: httpx.Client, statuses: list[int]) -> None:
    while not stop.is_set():
        statuses.append(platform.ask(client).status_code)
        time.sleep(0.2)


def test_without_rights_it_says_which_are_missing(
    cluster_platform_on: MakePlatform,
    platform_api: LocalControlPlane,
    orchestrator_account: Path,
    namespace: str,
    provider: CountingProvider,
    tmp_path: Path,
) -> None:
    token = platform_api.kubectl("create", "token", "default", "--namespace", namespace).strip()
    account = tmp_path / "kubeconfig"
    text = orchestrator_account.read_text()
    account.write_text("\n".join(f"    token: {token}" if "token:" in line else line for line in text.splitlines()))
    with cluster_platform_on(platform_api, namespace, account, provider) as platform:
        replica = platform.launch()
        wait_until(lambda: "cannot list resource" in _readiness(replica.url), seconds=30)
        assert "toolorchestra.dev" in _readiness(replica.url)
