"""What a platform on this machine is given: folders, secrets, environment."""

import json
from difflib import get_close_matches

import pytest

from toolorchestra.cli.connection import Connection, NotRunningError
from toolorchestra.cli.platform.background import arguments_of
from toolorchestra.cli.platform.folder import StateFolder
from toolorchestra.cli.platform.options import UpOptions
from toolorchestra.cli.platform.services import SHIPPED_MANIFESTS, Backing, Programs, service_environment, service_parts
from toolorchestra.kit.settings import SIMILAR
from toolorchestra.orchestrator.settings import OrchestratorSettings

BACKING = Backing("postgresql:///x", "redis://b", "redis://s", opened=("127.0.0.1:4711",))


def test_secrets_are_drawn_once_and_only_their_owner_can_read_them(tmp_path):
    folder = StateFolder(tmp_path / "state")
    folder.prepare()
    first = folder.admin_token(), folder.key_pepper_file.read_text()
    folder.prepare()
    assert (folder.admin_token(), folder.key_pepper_file.read_text()) == first
    assert len(set(first)) == 2
    assert all(len(secret) >= 40 for secret in first)
    assert folder.api_key() is None
    folder.keep_api_key("to_1.secret")
    assert folder.api_key() == "to_1.secret"
    for file in (folder.admin_token_file, folder.key_pepper_file, folder.api_key_file):
        assert file.stat().st_mode & 0o777 == 0o600


def test_the_orchestrator_understands_what_it_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environment = service_environment(UpOptions(state=tmp_path / "s", port=8123, allow_egress=("10.0.0.5:80",)), BACKING)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = OrchestratorSettings.load()
    assert settings.database_url.get_secret_value() == "postgresql:///x"
    assert (settings.host, settings.port) == ("127.0.0.1", 8123)
    assert settings.manifests == (SHIPPED_MANIFESTS, tmp_path / "s" / "manifests", tmp_path / "manifests")
    assert settings.egress_allow == ("127.0.0.1:4711", "10.0.0.5:80")
    assert settings.telemetry.traces_folder == tmp_path / "s" / "traces"
    assert settings.telemetry.otlp_endpoint is None


def test_a_collector_takes_the_place_of_span_files(tmp_path):
    environment = service_environment(UpOptions(state=tmp_path, otlp_endpoint="http://collector:4318"), BACKING)
    assert environment["TOOLORCHESTRA_TELEMETRY__OTLP_ENDPOINT"] == "http://collector:4318"
    assert "TOOLORCHESTRA_TELEMETRY__TRACES_FOLDER" not in environment


def test_named_folders_take_the_place_of_the_usual_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "manifests").mkdir()
    (tmp_path / "mine").mkdir()
    options = UpOptions(state=tmp_path / "s", manifests=(tmp_path / "mine",))
    folders = json.loads(service_environment(options, BACKING)["TOOLORCHESTRA_MANIFESTS"])
    assert folders == [str(SHIPPED_MANIFESTS), str(tmp_path / "s" / "manifests"), str(tmp_path / "mine")]


def test_there_is_one_worker_for_calls_and_one_for_the_sandbox(tmp_path):
    parts = service_parts(UpOptions(state=tmp_path, port=8123), BACKING, Programs())
    assert [part.name for part in parts] == ["orchestrator", "worker", "sandbox-worker"]
    assert [part.env["TOOLORCHESTRA_WORKER_CLASS"] for part in parts[1:]] == ["calls", "sandbox"]
    assert parts[0].url == "http://127.0.0.1:8123"


def test_replicas_share_the_port_and_one_of_them_keeps_what_is_observed(tmp_path):
    first, second, *_ = service_parts(UpOptions(state=tmp_path, port=8123, replicas=2), BACKING, Programs())
    assert [first.name, second.name] == ["orchestrator", "orchestrator-2"]
    assert first.url == second.url
    assert {part.env["TOOLORCHESTRA_SHARE_PORT"] for part in (first, second)} == {"true"}
    assert first.env.keys() - second.env.keys() == {"TOOLORCHESTRA_STATUS_FILE"}


@pytest.mark.parametrize("name", ["URL", "API_KEY", "STATE", "WORKER_CLASS"])
def test_no_variable_of_the_command_looks_like_a_misspelt_setting(name):
    assert not get_close_matches(f"TOOLORCHESTRA_{name}", list(OrchestratorSettings.variables()), cutoff=SIMILAR)


def test_a_platform_in_the_background_gets_all_options_and_no_password_on_its_command_line(tmp_path):
    options = UpOptions(
        state=tmp_path,
        port=8123,
        replicas=2,
        manifests=(tmp_path / "a", tmp_path / "b"),
        local_model=False,
        allow_egress=("10.0.0.5:80",),
        database_url="postgresql://me:secret@host/db",
    )
    assert list(arguments_of(options)) == [
        f"--state={tmp_path}",
        "--port=8123",
        "--replicas=2",
        f"--manifests={tmp_path}/a",
        f"--manifests={tmp_path}/b",
        "--allow-egress=10.0.0.5:80",
        "--no-local-model",
    ]


def test_a_folder_without_a_platform_has_no_connection(tmp_path):
    with pytest.raises(NotRunningError, match="does not run"):
        Connection.find(None, tmp_path)
    assert Connection.find("http://elsewhere:8080/", tmp_path).local is None
