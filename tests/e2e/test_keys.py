"""API keys, made and revoked by the command line of somebody who has nothing but a kubeconfig."""

import json
import time
from pathlib import Path

import openai
import pytest

from tests.e2e.installation import NAMESPACE, Tenant, command_line, wait_until
from tests.e2e.resources import cascade, multiplier

REACH = f"""
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: reach-toolorchestra}}
rules:
- {{apiGroups: [""], resources: [services], verbs: [list]}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: reach-toolorchestra, namespace: {NAMESPACE}}}
rules:
- {{apiGroups: [""], resources: [services], verbs: [get]}}
- {{apiGroups: [""], resources: [pods], verbs: [get, list]}}
- {{apiGroups: [""], resources: [pods/portforward], verbs: [create]}}
"""


def test_a_key_is_made_used_and_revoked(tenant: Tenant, tmp_path: Path, figures: list[str]) -> None:
    tenant.apply(cascade(), multiplier())
    tenant.wait("tool/multiplier", "Ready")
    keeper = tenant.account("keeper", "toolorchestra-admin")
    subject = f"--serviceaccount={tenant.name}:keeper"
    tenant.kubectl.apply(REACH)
    tenant.kubectl("create", "clusterrolebinding", tenant.name, "--clusterrole=reach-toolorchestra", subject)
    tenant.kubectl("create", "rolebinding", tenant.name, "-n", NAMESPACE, "--role=reach-toolorchestra", subject)
    context = keeper("config", "current-context").strip()

    def command(*words: str) -> str:
        return command_line([*words, "--context", context], kubectl=keeper, folder=tmp_path)

    made = json.loads(command("keys", "create", "laptop", "--limit", "day=0.5", "--json"))
    assert made["tenant"] == tenant.name
    assert tenant.ask("cascade", "What is 7 * 6?", key=made["key"]) == "42"
    assert "laptop" in command("keys", "list")
    assert json.loads(command("usage", "--by", "key", "--json"))

    began = time.monotonic()
    command("keys", "revoke", made["id"])

    def is_refused() -> bool:
        try:
            tenant.ask("cascade", "What is 7 * 6?", key=made["key"])
        except openai.AuthenticationError:
            return True
        return False

    wait_until(is_refused, seconds=10, what="the refusal")
    figures.append(f"API key: revoked and refused in {time.monotonic() - began:.2f} s, the command included")
    tenant.kubectl("delete", "clusterrolebinding", tenant.name)
    with pytest.raises(openai.AuthenticationError):
        tenant.ask("cascade", "What is 7 * 6?", key=made["key"])
