"""The chart and the code say the same: settings, schema version, metrics, and the script of `helm test`."""

import ast
import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.support.helm import CHART, MONITORING, Helm, Rendered
from toolorchestra.kit.settings import Settings
from toolorchestra.ledger.__main__ import LedgerSettings
from toolorchestra.ledger.schema import MAX_VERSION, migrations
from toolorchestra.operator.services.metrics import Metrics as OperatorMetrics
from toolorchestra.operator.settings import OperatorSettings
from toolorchestra.orchestrator.services.metrics import Metrics
from toolorchestra.orchestrator.settings import OrchestratorSettings
from toolorchestra.worker.settings import WorkerClass, WorkerSettings

METADATA = yaml.safe_load((CHART / "Chart.yaml").read_text())


def environment(rendered: Rendered, component: str, folder: Path) -> Mapping[str, str]:
    """The variables of a component's container, with its secrets as files in ``folder``."""
    pod = dict(rendered.pods())[component]["spec"]
    (container,) = pod["containers"]
    found = {}
    for source in container["envFrom"]:
        found |= rendered.one("ConfigMap", source["configMapRef"]["name"])["data"]
    found |= {item["name"]: item["value"] for item in container["env"]}
    (volume,) = [item for item in pod["volumes"] if item["name"] == "secrets"]
    for source in volume["projected"]["sources"]:
        for item in source["secret"]["items"]:
            (folder / item["path"]).write_text(f"redis://{item['key']}")
    assert found["TOOLORCHESTRA_SECRETS_FOLDER"] == "/etc/toolorchestra/secrets"
    return found | {"TOOLORCHESTRA_SECRETS_FOLDER": str(folder)}


@pytest.fixture
def load(helm: Helm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The settings that a component reads from the environment which the chart gives it."""

    def loaded(kind: type[Settings], component: str, **values: object) -> Settings:
        for name, value in environment(helm.render(values), component, tmp_path).items():
            monkeypatch.setenv(name, value)
        return kind.load()

    return loaded


def test_the_orchestrator_understands_its_environment(load):
    values = {
        "watchNamespaces": ["a", "b"],
        "defaultBudget": {"limits": {"month": "12.50"}, "perRun": "0.10"},
        "egress": {"allow": ["10.0.0.0/8"]},
        "telemetry": {"otlpEndpoint": "http://collector:4318", "sampleRatio": 0.5},
        "log": {"level": "debug"},
    }
    settings = load(OrchestratorSettings, "orchestrator", **values)
    assert (settings.registry, settings.authority, settings.watch_namespaces) == ("cluster", "kubernetes", ("a", "b"))
    assert settings.default_budget.model_dump(by_alias=True, exclude_unset=True) == values["defaultBudget"]
    assert settings.egress_allow == ("10.0.0.0/8",)
    assert (settings.telemetry.otlp_endpoint, settings.telemetry.sample_ratio) == ("http://collector:4318", 0.5)
    assert (settings.log.level, settings.host, settings.port) == ("debug", "0.0.0.0", 8080)
    assert settings.database_url.get_secret_value() == "redis://database-url"
    assert settings.signal_url.get_secret_value() == "redis://signals-url"
    assert settings.secret_readers == tuple(f"platform:toolorchestra-{part}" for part in ("orchestrator", "worker", "operator"))


@pytest.mark.parametrize("component", ["worker", "sandbox"])
def test_workers_understand_their_environment(load, component):
    settings = load(WorkerSettings, component, workers={"default": {"concurrency": 5}}, sandbox={"concurrency": 5})
    assert settings.worker_class is (WorkerClass.SANDBOX if component == "sandbox" else WorkerClass.CALLS)
    assert settings.calls_at_once == 5
    assert settings.broker_url.get_secret_value() == "redis://broker-url"
    assert (settings.ready_file, settings.liveness_file) == (Path("/tmp/ready"), Path("/tmp/alive"))


def test_the_operator_understands_its_environment(load):
    settings = load(OperatorSettings, "operator", watchNamespaces=["a"], profile="evaluation")
    assert (settings.host, settings.port) == ("0.0.0.0", 8081)
    assert tuple(getattr(settings, "watch_namespaces", ()) or settings.namespaces) == ("a",)
    assert settings.database_url.get_secret_value() == "redis://database-url"


def test_the_migration_is_the_owner_s_and_lets_the_services_in(load):
    settings = load(LedgerSettings, "migrate")
    assert settings.owner_url.get_secret_value() == "redis://owner-url"
    assert settings.database_url.get_secret_value() == "redis://database-url"


def test_a_broker_of_one_s_own_carries_the_signals_unless_told_otherwise(load):
    given = {"broker": {"existingSecret": "mq", "urlKey": "amqp"}}
    assert load(WorkerSettings, "worker", **given).signal_url.get_secret_value() == "redis://amqp"
    signals = {"signals": {"existingSecret": "vk"}}
    assert load(WorkerSettings, "worker", **given, **signals).signal_url.get_secret_value() == "redis://url"


def test_signals_can_be_left_out(helm, tmp_path):
    found = environment(helm.render({"signals": {"enabled": False}}), "worker", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"TOOLORCHESTRA_DATABASE_URL", "TOOLORCHESTRA_BROKER_URL"}
    assert not any("SIGNAL" in name for name in found)


def test_the_chart_knows_the_schema_that_the_code_brings(default):
    version = METADATA["annotations"]["toolorchestra.dev/schema-version"]
    assert int(version) == migrations()[-1].version == MAX_VERSION
    (name,) = default.of("Job")
    assert re.fullmatch(rf"toolorchestra-migrate-{version}-[0-9a-f]{{6}}", name)


def test_a_changed_image_makes_another_job_because_jobs_cannot_change(helm):
    first, second = (set(helm.render({"image": {"tag": tag}}).of("Job")) for tag in ("1", "2"))
    assert not first & second


def test_dashboards_and_alerts_ask_for_metrics_that_exist(helm):
    rendered = helm.render({}, apis=(MONITORING,))
    known = {family.name for metrics in (Metrics(), OperatorMetrics()) for family in metrics.registry.collect()}
    asked = "\n".join(
        [
            json.dumps(rendered.one("PrometheusRule", "toolorchestra")),
            *rendered.one("ConfigMap", "toolorchestra-dashboard")["data"].values(),
        ]
    )
    names = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in re.findall(r"\btoolorchestra_[a-z_]+", asked)}
    assert names
    assert names <= known


def test_dashboards_hang_together():
    for path in CHART.glob("dashboards/*.json"):
        dashboard = json.loads(path.read_text())
        numbers = [panel["id"] for panel in dashboard["panels"]]
        assert len(numbers) == len(set(numbers))
        assert all(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])


def test_monitors_are_rendered_only_where_their_kinds_are(helm):
    kinds = {"ServiceMonitor", "PodMonitor", "PrometheusRule"}

    def rendered(values: dict[str, object], *apis: str) -> set[str]:
        return kinds & {item["kind"] for item in helm.render(values, apis=apis).objects}

    assert rendered({}) == set()
    assert rendered({}, MONITORING) == kinds
    off = {"serviceMonitor": {"enabled": False}, "prometheusRule": {"enabled": False}}
    assert rendered({"metrics": off}, MONITORING) == set()


def test_the_scraped_ports_exist(default):
    pods = dict(default.pods())
    for component in ("orchestrator", "operator"):
        (port,) = pods[component]["spec"]["containers"][0]["ports"]
        assert port["name"] == "http"


def test_the_question_of_helm_test_is_a_python_program(default):
    script = default.one("ConfigMap", "toolorchestra-test")["data"]["ask.py"]
    ast.parse(script)
    assert script.strip() == (CHART / "files" / "ask.py").read_text().strip()
