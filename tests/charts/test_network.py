"""Who may reach whom. The policies are evaluated here as the specification says, not compared with themselves."""

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from tests.support.helm import Helm, Rendered

METADATA = "169.254.169.254"
OUTSIDE = "93.184.215.14"
DNS = {"k8s-app": "kube-dns"}
COMPONENTS = ("orchestrator", "worker", "sandbox", "operator", "migrate", "test", "postgres", "valkey")


def labels(rendered: Rendered, component: str) -> Mapping[str, str]:
    return dict(rendered.pods())[component]["metadata"]["labels"]


def ports(rendered: Rendered, component: str) -> dict[str, int]:
    found = dict(rendered.pods())[component]["spec"]["containers"][0].get("ports", [])
    return {port["name"]: port["containerPort"] for port in found}


def matches(selector: Mapping[str, Any], given: Mapping[str, str]) -> bool:
    return selector.get("matchLabels", {}).items() <= given.items()


def rules(rendered: Rendered, component: str, direction: str):
    """All rules of a direction that hold for a component; every pod is under a policy, so no rule means no."""
    own = labels(rendered, component)
    policies = [item["spec"] for item in rendered.of("NetworkPolicy").values() if matches(item["spec"]["podSelector"], own)]
    assert any(direction in policy["policyTypes"] for policy in policies), f"{component} is under no policy"
    return [rule for policy in policies for rule in policy.get(direction.lower(), [])]


def port_fits(rule, number: int, names: Mapping[str, int]) -> bool:
    wanted = [port["port"] for port in rule.get("ports", [])]
    return not wanted or number in [names.get(port, port) for port in wanted]


def reaches_pod(rendered: Rendered, source: str, target: str, port: int) -> bool:
    names, source_labels, target_labels = ports(rendered, target), labels(rendered, source), labels(rendered, target)

    def admitted(direction: str, at: str, key: str, peer: Mapping[str, str]) -> bool:
        return any(
            port_fits(rule, port, names) and (key not in rule or any(of_pod(one, peer) for one in rule[key]))
            for rule in rules(rendered, at, direction)
        )

    def of_pod(one, peer: Mapping[str, str]) -> bool:
        return "ipBlock" in one or (
            ("podSelector" not in one or matches(one["podSelector"], peer))
            and ("podSelector" in one or "namespaceSelector" in one)
            and not one.get("namespaceSelector", {}).get("matchLabels")
        )

    return admitted("Egress", source, "to", target_labels) and admitted("Ingress", target, "from", source_labels)


def reaches_address(rendered: Rendered, source: str, address: str, port: int = 443) -> bool:
    def inside(block) -> bool:
        networks = [ip_network(block["cidr"]), *map(ip_network, block.get("except", []))]
        first, *excepted = [network for network in networks if network.version == ip_address(address).version] or [None]
        return first is not None and ip_address(address) in first and not any(ip_address(address) in net for net in excepted)

    return any(
        port_fits(rule, port, {})
        and ("to" not in rule or any("ipBlock" in one and inside(one["ipBlock"]) for one in rule["to"]))
        for rule in rules(rendered, source, "Egress")
    )


def test_every_edge_is_named(default):
    open_ports = {"orchestrator": 8080, "operator": 8081, "postgres": 5432, "valkey": 6379}
    edges = {
        target: {source for source in COMPONENTS if source != target and reaches_pod(default, source, target, port)}
        for target, port in open_ports.items()
    }
    assert edges == {
        "orchestrator": {"worker", "operator", "test"},  # the first two may call any address
        "operator": {"orchestrator", "worker"},  # its metrics
        "postgres": {"orchestrator", "worker", "sandbox", "operator", "migrate"},
        "valkey": {"orchestrator", "worker", "sandbox"},
    }


def test_nothing_else_is_open_on_those_pods(default):
    assert not any(reaches_pod(default, source, "postgres", 22) for source in COMPONENTS)
    assert not any(reaches_pod(default, "orchestrator", target, 9) for target in ("worker", "sandbox", "migrate", "test"))


def test_only_what_calls_tools_gets_out_and_nobody_gets_the_metadata(rendered):
    out = {c for c in {c for c, _ in rendered.pods()} if reaches_address(rendered, c, OUTSIDE)}
    assert out == {"orchestrator", "worker", "operator"}
    assert not any(reaches_address(rendered, component, METADATA, 80) for component, _ in rendered.pods())
    assert not any(reaches_address(rendered, component, "fd00:ec2::254", 80) for component, _ in rendered.pods())


def test_the_sandbox_reaches_the_database_the_broker_and_at_most_names(helm: Helm):
    def rules_of(dns: bool):
        return rules(helm.render({"sandbox": {"dns": dns}}), "sandbox", "Egress")

    assert [[port["port"] for port in rule["ports"]] for rule in rules_of(dns=False)] == [[5432], [6379]]
    with_names = rules_of(dns=True)
    assert [[port["port"] for port in rule["ports"]] for rule in with_names] == [[53, 53], [5432], [6379]]
    assert with_names[0]["to"][0]["podSelector"]["matchLabels"] == DNS


def test_servers_of_one_s_own_narrow_the_edges(helm: Helm):
    values = {
        "database": {"existingSecret": "db", "port": 6432},
        "broker": {"existingSecret": "mq", "port": 5671},
        "signals": {"existingSecret": "vk", "port": 6380},
        "networkPolicy": {"database": [{"ipBlock": {"cidr": "10.1.0.0/16"}}], "broker": [{"ipBlock": {"cidr": "10.2.0.0/16"}}]},
    }
    rendered = helm.render(values)
    assert reaches_address(rendered, "sandbox", "10.1.2.3", 6432)
    assert not reaches_address(rendered, "sandbox", "10.1.2.3", 5671)
    assert all(reaches_address(rendered, "sandbox", "10.2.2.3", port) for port in (5671, 6380))
    assert not reaches_address(rendered, "sandbox", OUTSIDE, 6432)


def test_clients_can_be_named(helm: Helm):
    peer = {"namespaceSelector": {"matchLabels": {"client": "yes"}}}
    rendered = helm.render({"networkPolicy": {"clients": [peer]}})
    assert [rule["from"] for rule in rules(rendered, "orchestrator", "Ingress")] == [[peer]]


def test_policies_can_be_left_to_others(helm: Helm):
    assert helm.render({"networkPolicy": {"enabled": False}}).of("NetworkPolicy") == {}
