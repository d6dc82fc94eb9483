"""The command with a kubeconfig: whose tokens it takes, and what it says when there are none."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.controlplane.registry.conftest import ClusterPlatform
from tests.support.platform import wait_until

CONTEXT = "test"


@dataclass
class Command:
    """``toolorchestra`` as somebody who has this kubeconfig, and kubectl on the path."""

    platform: ClusterPlatform
    kubeconfig: Path

    def __call__(self, *words: str, with_url: bool = True, code: int = 0) -> str:
        """What it printed, on both streams."""
        given = {name: value for name, value in os.environ.items() if not name.startswith("TOOLORCHESTRA_")}
        kubectl = self.platform.cluster.kubectl.program.parent
        environment = {
            **given,
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": f"{kubectl}:{os.environ['PATH']}",
            "COLUMNS": "200",
        }
        if with_url:
            environment["TOOLORCHESTRA_URL"] = self.platform.url
        command = (sys.executable, "-m", "toolorchestra.cli", *words)
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, cwd=self.kubeconfig.parent, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


def write_kubeconfig(platform: ClusterPlatform, folder: Path, user: dict[str, str]) -> Path:
    """One context, with the platform's namespace as its own."""
    document = yaml.safe_load(platform.cluster.kubeconfig.read_text())
    document["users"][0]["user"] = user
    context = document["contexts"][0]
    context["name"] = document["current-context"] = CONTEXT
    context["context"]["namespace"] = platform.namespace
    path = folder / "config"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture
def administrator(serving: ClusterPlatform, tmp_path: Path) -> Command:
    """A person who signs in with a token, and may do everything."""
    return Command(serving, write_kubeconfig(serving, tmp_path, {"token": serving.cluster.token}))


def test_keys_are_made_with_the_persons_own_token_and_ask(administrator: Command) -> None:
    made = json.loads(administrator("keys", "create", "laptop", "--context", CONTEXT, "--json"))
    assert made["tenant"] == administrator.platform.namespace
    answer = administrator("ask", "What is it?", "--model", "main", "--key", made["key"], "--json")
    assert json.loads(answer)["toolorchestra"]["status"] == "completed"
    assert "laptop" in administrator("keys", "list", "--context", CONTEXT)
    administrator("keys", "revoke", made["id"], "--context", CONTEXT)


def test_without_a_key_the_namespaces_service_account_asks(administrator: Command) -> None:
    assert "main" in administrator("models", "--context", CONTEXT)
    answer = json.loads(administrator("ask", "What is it?", "--model", "main", "--context", CONTEXT, "--json"))
    assert answer["run"]["id"] in administrator("runs", "list", "--context", CONTEXT)
    assert "sa:default" in administrator("usage", "--by", "key", "--context", CONTEXT, "-n", administrator.platform.namespace)
    assert "100" in administrator("budget", "show", "--context", CONTEXT)


def test_somebody_without_rights_reads_which_role_is_missing(serving: ClusterPlatform, tmp_path: Path) -> None:
    token = serving.token("nobody", audience=None)
    command = Command(serving, write_kubeconfig(serving, tmp_path, {"token": token}))
    said = command("keys", "create", "mine", "--context", CONTEXT, code=1)
    assert f"may not create keys.toolorchestra.dev in namespace '{serving.namespace}'" in " ".join(said.split())
    assert "--clusterrole=toolorchestra-admin" in said


def test_a_person_with_a_certificate_acts_as_a_service_account(serving: ClusterPlatform, tmp_path: Path) -> None:
    """A certificate proves who somebody is to the API server alone: there is no token to show to the platform."""
    keys = serving.cluster.plan.keys
    certificate, key = keys / "kubelet-client.crt", keys / "kubelet-client.key"
    user = {"client-certificate": str(certificate), "client-key": str(key)}
    command = Command(serving, write_kubeconfig(serving, tmp_path, user))
    said = " ".join(command("keys", "list", "--context", CONTEXT, code=1).split())
    assert "signs in without a token" in said
    assert "--service-account NAME" in said
    serving.token("keysmith")
    serving.bind("toolorchestra-admin", "keysmith")
    words = ("keys", "create", "by-robot", "--context", CONTEXT, "--service-account", "keysmith", "--json")
    wait_until(lambda: serving.as_admin(serving.token("keysmith"), "GET", "/keys").status_code == 200)
    assert json.loads(command(*words))["name"] == "by-robot"


def test_a_context_that_is_not_there_and_a_cluster_without_a_platform_are_said(administrator: Command) -> None:
    assert "cannot locate context nowhere" in administrator("models", "--context", "nowhere", code=1)
    said = administrator("models", "--context", CONTEXT, with_url=False, code=1)
    said_of_url = administrator("keys", "list", "--context", CONTEXT, "--url", "http://orchestrator.example", code=1)
    assert "clear text" in said_of_url
    assert "no Service with the label app.kubernetes.io/component=orchestrator" in " ".join(said.split())
