"""Who may do what: exactly what the list of rights says, and nothing that no chart should give."""

from pathlib import Path

import yaml

from tests.support.helm import Helm, Rendered
from tests.support.operators import DISCOVERY, RULES

ALLOWED = yaml.safe_load((Path(__file__).parent / "rights.yaml").read_text())
AGGREGATED = {
    f"toolorchestra-{name}": {f"rbac.authorization.k8s.io/aggregate-to-{name}": "true"} for name in ("view", "edit", "admin")
}


def roles(rendered: Rendered):
    return [item for item in rendered.objects if item["kind"] in ("Role", "ClusterRole")]


def bindings(rendered: Rendered):
    return [item for item in rendered.objects if item["kind"] in ("RoleBinding", "ClusterRoleBinding")]


def short(name: str) -> str:
    """Roles of the cluster are named after the release's namespace too."""
    return name.removeprefix("platform-")


def rights(role):
    return {
        "/".join(filter(None, (group, resource))): rule["verbs"]
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def test_roles_give_what_the_list_allows_and_no_more(default):
    given = {short(role["metadata"]["name"]): rights(role) for role in roles(default)}
    assert given == {name: {k: v for k, v in entry.items() if k != "bound"} for name, entry in ALLOWED.items()}


def test_accounts_have_the_roles_that_the_list_binds(default):
    bound = {short(role["metadata"]["name"]): [] for role in roles(default)}
    for binding in bindings(default):
        assert [subject["namespace"] for subject in binding["subjects"]] == ["platform"]
        bound[short(binding["roleRef"]["name"])] += [subject["name"] for subject in binding["subjects"]]
    assert bound == {name: entry["bound"] for name, entry in ALLOWED.items()}


def test_no_right_is_unbounded(rendered):
    for role in roles(rendered):
        for rule in role["rules"]:
            assert "*" not in (*rule["apiGroups"], *rule["resources"], *rule["verbs"])
            assert "nonResourceURLs" not in rule


def test_no_account_of_the_chart_reads_secrets(rendered):
    bound = {binding["roleRef"]["name"] for binding in bindings(rendered)}
    readers = {role["metadata"]["name"] for role in roles(rendered) if "secrets" in rights(role)}
    assert not bound & readers
    assert readers <= {"toolorchestra-secret-reader"}


def test_people_s_roles_are_aggregated_and_the_budget_s_is_not(default):
    labelled = {
        name: {k: v for k, v in role["metadata"]["labels"].items() if "aggregate-to" in k}
        for name, role in default.of("ClusterRole").items()
    }
    assert {name: labels for name, labels in labelled.items() if labels} == AGGREGATED


def test_the_operator_has_the_rights_with_which_it_was_tested(default: Rendered, helm: Helm):
    def of(rules):
        return rights({"rules": rules})

    discovery = helm.render({"watchNamespaces": ["a"]}).one("ClusterRole", "platform-toolorchestra-operator-discovery")
    assert rights(default.one("ClusterRole", "platform-toolorchestra-operator")) == of(RULES)
    assert rights(discovery) == of(DISCOVERY)


def test_with_a_list_of_namespaces_only_reviews_and_kinds_are_of_the_cluster(helm: Helm):
    rendered = helm.render({"watchNamespaces": ["a", "b"], "rbac": {"sharedRoles": False}})
    assert {short(name) for name in rendered.of("ClusterRole")} == {
        "toolorchestra-orchestrator-reviews",
        "toolorchestra-operator-discovery",
    }
    discovery = rights(rendered.one("ClusterRole", "platform-toolorchestra-operator-discovery"))
    assert set(discovery) == {"apiextensions.k8s.io/customresourcedefinitions", "namespaces"}
    for kind in ("Role", "RoleBinding"):
        places = sorted(
            (item["metadata"]["namespace"], item["metadata"]["name"]) for item in rendered.objects if item["kind"] == kind
        )
        assert places == [(ns, f"toolorchestra-{part}") for ns in ("a", "b") for part in ("operator", "orchestrator")]


def test_without_rbac_the_chart_gives_no_right(helm: Helm):
    rendered = helm.render({"rbac": {"create": False, "sharedRoles": False}})
    assert (roles(rendered), bindings(rendered)) == ([], [])
