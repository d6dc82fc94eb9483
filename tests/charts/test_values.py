"""What a person may write in the values, and what they are told when it cannot work."""

import re

import pytest
import yaml

from infra.cluster.recipes import KUBERNETES
from tests.support.helm import CHART, CI, CRD_CHART, HelmError

EXTERNAL = {"database": {"existingSecret": "db"}, "broker": {"existingSecret": "mq"}}
NOTHING_OWN = {"evaluation": {"postgres": {"enabled": False}, "valkey": {"enabled": False}}}
PRODUCTION = {"profile": "production", **EXTERNAL, **NOTHING_OWN}


@pytest.mark.parametrize("chart", [CHART, CRD_CHART], ids=lambda path: path.name)
def test_a_chart_has_no_lint(helm, chart):
    assert "0 chart(s) failed" in helm("lint", "--strict", f"--kube-version={KUBERNETES}", chart)


@pytest.mark.parametrize("values", CI, ids=lambda path: path.stem)
def test_the_values_of_each_example_have_no_lint(helm, values):
    known = yaml.safe_load(values.read_text())
    known["examples"] = {"enabled": False}  # lint knows no kinds of the cluster
    arguments = ("lint", "--strict", f"--kube-version={KUBERNETES}", "--values=-", CHART)
    assert "0 chart(s) failed" in helm(*arguments, stdin=yaml.safe_dump(known))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"profile": "staging"}, "'/profile': value must be one of 'evaluation', 'production'"),
        ({"orchestrator": {"replica": 3}}, "'/orchestrator': additional properties 'replica' not allowed"),
        ({"orchestrators": {}}, "additional properties 'orchestrators' not allowed"),
        ({"orchestrator": {"replicas": -1}}, "'/orchestrator/replicas': minimum: got -1, want 0"),
        ({"database": {"url": "db:5432"}}, "'/database/url': 'db:5432' does not match pattern"),
        ({"image": {"digest": "abc"}}, "'/image/digest': 'abc' does not match pattern"),
        ({"sandbox": {"seccompProfile": {"type": "Unconfined"}}}, "'/sandbox/seccompProfile/type': value must be one of"),
        ({"defaultBudget": {"limits": {"day": 5}}}, "'/defaultBudget/limits/day': got number, want string"),
        ({"workers": {"Bulk": {}}}, "invalid propertyName 'Bulk'"),
        ({"watchNamespaces": "a"}, "'/watchNamespaces': got string, want array"),
        ({"networkPolicy": {"clients": [{"cidr": "10.0.0.0/8"}]}}, "'/networkPolicy/clients/0': additional properties 'cidr'"),
    ],
)
def test_a_wrong_value_is_refused_by_name(helm, values, said):
    with pytest.raises(HelmError, match=re.escape(said)):
        helm.render(values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"profile": "production", **EXTERNAL},
            "evaluation.postgres.enabled: profile production brings no postgres of its own",
        ),
        (
            {"profile": "production", **EXTERNAL, "evaluation": {"postgres": {"enabled": False}}},
            "evaluation.valkey.enabled: profile production brings no valkey of its own",
        ),
        ({**PRODUCTION, "defaultBudget": {"limits": {"day": "1"}}}, "defaultBudget: profile production gives no money"),
        ({**PRODUCTION, "defaultBudget": {"limits": {"total": "0.01"}}}, "defaultBudget: profile production gives no money"),
        (NOTHING_OWN, "database.existingSecret is missing: name a Secret that holds a PostgreSQL URL"),
        ({**NOTHING_OWN, "database": EXTERNAL["database"]}, "broker.existingSecret is missing"),
        ({"operator": {"serviceAccount": {"create": False}}}, "operator: serviceAccount.name is missing"),
        ({"examples": {"enabled": True}, "watchNamespaces": ["a"]}, "the examples lie in namespace platform"),
    ],
)
def test_a_combination_that_cannot_work_is_refused_with_the_value_to_change(helm, values, said):
    with pytest.raises(HelmError, match=re.escape(said)):
        helm.render(values)


def test_examples_without_the_kinds_say_what_to_install_first(helm):
    with pytest.raises(HelmError, match="install the chart toolorchestra-crds first"):
        helm.render({"examples": {"enabled": True}}, apis=())


def test_production_gives_no_money_by_default_and_may_say_so(helm):
    for values in (PRODUCTION, {**PRODUCTION, "defaultBudget": {"limits": {"total": "0.00"}}}):
        config = helm.render(values).one("ConfigMap", "toolorchestra-config")["data"]
        assert re.fullmatch(r'{"limits":{"total":"0(\.00)?"}}', config["TOOLORCHESTRA_DEFAULT_BUDGET"])


def test_the_same_values_render_the_same(helm):
    values = {**PRODUCTION, "keyPepper": {"existingSecret": "pepper"}}
    assert helm.render(values) == helm.render(values)


def test_every_group_of_values_is_explained():
    blocks = (CHART / "values.yaml").read_text().split("\n\n")
    assert [block.splitlines()[0] for block in blocks if "#" not in block] == []
