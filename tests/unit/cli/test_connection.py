"""Which platform a command means, and what it refuses to do with somebody's credentials."""

import pytest

from toolorchestra.cli.connection import Connection, NotRunningError
from toolorchestra.cli.kubectl import Cluster
from toolorchestra.core.errors import ForbiddenError, NotFoundError


def test_a_cluster_is_used_only_when_it_is_named(tmp_path):
    with pytest.raises(NotRunningError, match="--context"):
        Connection.find(None, tmp_path, Cluster(namespace="team"))
    assert Connection.find(None, tmp_path, Cluster(context="prod")).url is None


def test_the_tenant_is_the_namespace_that_was_named(tmp_path):
    assert Connection.find("http://127.0.0.1:1", tmp_path).tenant == "default"
    assert Connection.find("http://127.0.0.1:1", tmp_path, Cluster("prod", "team")).tenant == "team"


def test_a_persons_own_token_travels_in_no_clear_text(tmp_path):
    platform = Connection.find("http://orchestrator.example", tmp_path, Cluster("prod", "team"))
    with pytest.raises(ForbiddenError, match="clear text"), platform.admin(None):
        pass


def test_without_kubectl_the_way_around_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotFoundError, match="kubectl is not installed") as refused:
        Connection.find(None, tmp_path, Cluster("prod")).cluster.tenant()
    assert "--url" in str(refused.value)
