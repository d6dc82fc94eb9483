"""Who the tests of the client sign in as."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from infra.cluster.local import LocalControlPlane


@pytest.fixture
def signed_in_as(api_server: LocalControlPlane, tmp_path: Path) -> Callable[[str], Path]:
    """A kubeconfig of the ServiceAccount ``default`` of a namespace, which may do nothing."""

    def sign_in(namespace: str) -> Path:
        token = api_server.kubectl("create", "token", "default", "--namespace", namespace).strip()
        document = yaml.safe_load(api_server.kubeconfig.read_text())
        document["users"][0]["user"] = {"token": token}
        path = tmp_path / f"{namespace}.config"
        path.write_text(yaml.safe_dump(document))
        return path

    return sign_in
