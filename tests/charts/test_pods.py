"""Every pod of the chart: what it may do, what it takes, how it is watched, and where its image comes from."""

import pytest

from tests.charts.podsecurity import violations
from tests.support.helm import Helm, Rendered

SERVING = {"orchestrator", "worker", "sandbox", "operator", "postgres", "valkey"}
ENDING = {"migrate", "test"}
WITH_TOKEN = {"orchestrator", "worker", "operator"}


def containers(pod):
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def test_every_component_has_its_pods(default):
    assert {component for component, _ in default.pods()} == SERVING | ENDING


def test_every_pod_is_restricted(rendered):
    assert {component: violations(pod["spec"]) for component, pod in rendered.pods() if violations(pod["spec"])} == {}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"hostNetwork": True}, "hostNetwork"),
        ({"securityContext": {}}, "runAsNonRoot"),
        ({"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}, "volume host"),
        ({"containers": [{"name": "one", "securityContext": {"privileged": True}}]}, "privileged"),
    ],
)
def test_the_check_of_pods_finds_what_is_wrong(default, change, found):
    pod = dict(default.pods())["orchestrator"]["spec"]
    assert any(found in text for text in violations({**pod, **change}))


def test_every_root_is_read_only_and_every_container_says_what_it_needs(rendered):
    for component, pod in rendered.pods():
        for container in containers(pod):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, component
            assert {"cpu", "memory"} <= set(container["resources"]["requests"]), component
            assert "memory" in container["resources"]["limits"], component


def test_everything_that_serves_is_probed_and_what_ends_is_not(rendered):
    for component, pod in rendered.pods():
        for container in pod["spec"]["containers"]:
            probes = {name for name in container if name.endswith("Probe")}
            assert probes == ({"startupProbe", "livenessProbe", "readinessProbe"} if component in SERVING else set())


def test_tokens_are_mounted_only_where_the_api_server_is_asked(rendered):
    mounted = {component for component, pod in rendered.pods() if pod["spec"]["automountServiceAccountToken"]}
    assert mounted == WITH_TOKEN
    assert {account["automountServiceAccountToken"] for account in rendered.of("ServiceAccount").values()} == {False}


def test_components_do_not_share_a_service_account(rendered):
    accounts = {component: pod["spec"].get("serviceAccountName") for component, pod in rendered.pods()}
    named = {component: account for component, account in accounts.items() if component not in ("postgres", "valkey")}
    assert len(set(named.values())) == len(named)
    assert set(named.values()) == set(rendered.of("ServiceAccount"))


def test_no_service_of_the_namespace_becomes_a_setting(rendered):
    assert {pod["spec"]["enableServiceLinks"] for _, pod in rendered.pods()} == {False}


def test_no_secret_stands_in_an_environment(rendered):
    secrets = set(rendered.of("Secret")) | {"toolorchestra-database", "toolorchestra-broker", "toolorchestra-pepper"}
    for component, pod in rendered.pods():
        for container in containers(pod):
            assert all("configMapRef" in source for source in container.get("envFrom", []))
            assert not any("valueFrom" in variable for variable in container.get("env", [])), component
        mounted = {
            source["secret"]["name"]
            for v in pod["spec"]["volumes"]
            for source in v.get("projected", {}).get("sources", [])
            if "secret" in source
        }
        assert mounted <= secrets
    assert not any("://:" in value for config in rendered.of("ConfigMap").values() for value in config["data"].values())


def test_each_service_gets_only_its_own_secrets(default):
    def files(component: str) -> set[str]:
        (volume,) = [v for v in dict(default.pods())[component]["spec"]["volumes"] if v["name"] == "secrets"]
        return {
            item["path"].removeprefix("TOOLORCHESTRA_") for s in volume["projected"]["sources"] for item in s["secret"]["items"]
        }

    assert files("orchestrator") == {"DATABASE_URL", "BROKER_URL", "SIGNAL_URL", "key-pepper"}
    assert files("worker") == files("sandbox") == {"DATABASE_URL", "BROKER_URL", "SIGNAL_URL"}
    assert files("operator") == {"DATABASE_URL"}
    assert files("migrate") == {"DATABASE_URL", "OWNER_URL"}


def test_every_image_can_be_replaced(helm: Helm):
    digest = f"sha256:{'0' * 64}"
    images = {"repository": "own", "digest": digest}
    values = {
        "image": {"registry": "mirror.example.com/x", "digest": digest, "pullPolicy": "Never"},
        "sandbox": {"image": images},
        "evaluation": {"postgres": {"image": images}, "valkey": {"image": images}},
        "imagePullSecrets": ["pull"],
    }
    for component, pod in helm.render(values).pods():
        assert pod["spec"]["imagePullSecrets"] == [{"name": "pull"}]
        for container in containers(pod):
            assert container["image"].startswith("mirror.example.com/x/"), component
            assert container["image"].endswith(digest)
            assert container["imagePullPolicy"] == "Never"


def test_an_image_that_names_its_registry_keeps_it(helm: Helm):
    values = {
        "image": {"registry": "mirror.example.com"},
        "sandbox": {"image": {"repository": "localhost/sandbox", "tag": "7"}},
    }
    pods = dict(helm.render(values).pods())
    assert pods["sandbox"]["spec"]["containers"][0]["image"] == "localhost/sandbox:7"
    assert pods["postgres"]["spec"]["containers"][0]["image"] == "mirror.example.com/postgres:18"


def test_a_pod_is_placed_as_its_component_says(helm: Helm):
    placed = {"nodeSelector": {"pool": "x"}, "priorityClassName": "high", "tolerations": [{"operator": "Exists"}]}
    parts = ("orchestrator", "workerDefaults", "sandbox", "operator", "migration", "test")
    values = dict.fromkeys(parts, placed) | {"evaluation": {"postgres": placed, "valkey": placed}}
    for component, pod in helm.render(values).pods():
        assert {key: pod["spec"][key] for key in placed} == placed, component


def test_a_drain_fits_into_the_grace(helm: Helm):
    pods = dict(
        helm.render({"orchestrator": {"drainSeconds": 60, "preStopSeconds": 7}, "sandbox": {"drainSeconds": 90}}).pods()
    )
    spec = pods["orchestrator"]["spec"]
    environment = {item["name"]: item["value"] for item in spec["containers"][0]["env"]}
    assert environment["TOOLORCHESTRA_DRAIN_MS"] == "60000"
    assert spec["terminationGracePeriodSeconds"] > 67
    assert spec["containers"][0]["lifecycle"]["preStop"] == {"sleep": {"seconds": 7}}
    assert pods["sandbox"]["spec"]["terminationGracePeriodSeconds"] > 90


def test_a_class_of_workers_is_a_deployment_with_its_own_pods(helm: Helm):
    rendered = helm.render({"workers": {"bulk": {"replicas": 5, "concurrency": 7}}})
    assert {"toolorchestra-worker", "toolorchestra-worker-bulk"} <= set(rendered.of("Deployment"))
    bulk = rendered.one("Deployment", "toolorchestra-worker-bulk")["spec"]
    assert bulk["replicas"] == 5
    assert bulk["selector"]["matchLabels"]["toolorchestra.dev/worker"] == "bulk"
    assert {"name": "TOOLORCHESTRA_CONCURRENCY", "value": "7"} in bulk["template"]["spec"]["containers"][0]["env"]


def test_an_autoscaled_deployment_has_no_replicas_of_its_own(helm: Helm):
    scaled = {"autoscaling": {"enabled": True, "maxReplicas": 4}}
    rendered: Rendered = helm.render({"orchestrator": scaled, "workerDefaults": scaled, "sandbox": scaled})
    names = {"toolorchestra-orchestrator", "toolorchestra-worker", "toolorchestra-sandbox"}
    assert {item["spec"]["scaleTargetRef"]["name"] for item in rendered.of("HorizontalPodAutoscaler").values()} == names
    assert not any("replicas" in rendered.one("Deployment", name)["spec"] for name in names)


def test_a_drain_of_a_node_is_never_blocked(rendered):
    budgets = rendered.of("PodDisruptionBudget").values()
    assert {budget["spec"]["maxUnavailable"] for budget in budgets} == {1}
    deployments = {str(item["spec"]["selector"]["matchLabels"]) for item in rendered.of("Deployment").values()}
    assert {str(budget["spec"]["selector"]["matchLabels"]) for budget in budgets} <= deployments


def test_the_operator_is_never_there_twice(rendered):
    spec = rendered.one("Deployment", "toolorchestra-operator")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
