"""The child that forwards a port: its address is read, its refusal is told, and it ends with the block.

The program stands in for kubectl, whose forwarding needs a node; tests/e2e has the real one.
"""

import os
import stat
import subprocess
import time
from pathlib import Path

import pytest

from toolorchestra.cli.kubectl import Cluster
from toolorchestra.core.errors import ConflictError, UnavailableError

SERVICE = '{"metadata": {"namespace": "platform", "name": "orchestrator"}, "spec": {"ports": [{"port": 80}]}}'


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Installs a program: what it lists, and what it does when it is to forward."""

    def install(forward: str, *services: str) -> Path:
        program = tmp_path / "kubectl"
        listing = f'{{"items": [{", ".join(services)}]}}'
        program.write_text(
            f"#!/bin/sh\necho $$ $* >> {tmp_path}/said\ncase \"$*\" in *port-forward*) {forward};; *) echo '{listing}';; esac\n"
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        return tmp_path / "said"

    return install


def test_the_address_is_what_the_child_announces_and_the_child_ends_with_the_block(kubectl):
    said = kubectl("echo 'Forwarding from 127.0.0.1:40123 -> 8080'; exec sleep 60", SERVICE)
    with Cluster("prod").forwarded() as url:
        assert url == "http://127.0.0.1:40123"
        pid, words = said.read_text().splitlines()[-1].split(" ", 1)
        assert words == "--context prod port-forward --namespace platform service/orchestrator :80"
        os.kill(int(pid), 0)
    deadline = time.monotonic() + 5
    while subprocess.run(("kill", "-0", pid), capture_output=True, check=False).returncode == 0:
        assert time.monotonic() < deadline, "the child still runs"
        time.sleep(0.05)


def test_what_the_child_says_before_it_gives_up_is_told(kubectl):
    kubectl("echo 'error: pods \"x\" is forbidden' >&2; exit 1", SERVICE)
    with (
        pytest.raises(UnavailableError, match='port-forward does not work: pods "x" is forbidden'),
        Cluster("prod").forwarded(),
    ):
        pass


def test_several_platforms_are_not_guessed_among(kubectl):
    kubectl("exit 1", SERVICE, SERVICE.replace('"platform"', '"other"'))
    with pytest.raises(ConflictError, match="platform/orchestrator, other/orchestrator"), Cluster("prod").forwarded():
        pass
