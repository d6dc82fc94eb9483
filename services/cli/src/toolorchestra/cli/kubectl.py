"""A platform on a cluster, reached with a person's kubeconfig: its address by a port-forward, its credentials by tokens.

Everything goes through ``kubectl``, so every way to sign in that works there works here. Nothing is kept.
"""

import asyncio
import json
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from toolorchestra.cli.embedded.leash import leashed
from toolorchestra.core.errors import ConflictError, NotFoundError, UnauthenticatedError, UnavailableError

AUDIENCE: Final = "toolorchestra"
COMPONENT: Final = "app.kubernetes.io/component=orchestrator"
LIFE: Final = "10m"  # the shortest that an API server gives
ANSWER_S: Final = 30.0
FORWARD_S: Final = 20.0
DEFAULT_ACCOUNT: Final = "default"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A context of the kubeconfig, the tenant's namespace there, and the ServiceAccount to act as; None means the usual."""

    context: str | None = None
    namespace: str | None = None
    service_account: str | None = None

    @property
    def is_named(self) -> bool:
        """Whether the command line speaks of a cluster at all: the current context is never used unasked."""
        return self.context is not None or self.service_account is not None

    def tenant(self) -> str:
        """The namespace: the one named, else that of the context."""
        if self.namespace is not None or not self.is_named:
            return self.namespace or "default"
        found = self._json("config", "view", "--minify", "--output=json")
        contexts = found.get("contexts") or [{}]
        return str((contexts[0].get("context") or {}).get("namespace") or "default")

    def data_token(self) -> str:
        """A short-lived token of a ServiceAccount in the tenant's namespace, made for the platform alone."""
        account = self.service_account or DEFAULT_ACCOUNT
        options = ("--namespace", self.tenant(), "--audience", AUDIENCE, "--duration", LIFE)
        return self._run("create", "token", account, *options).strip()

    def admin_token(self) -> str:
        """A token of the ServiceAccount that was named, else the person's own. Raises UnauthenticatedError without either."""
        if self.service_account is not None:
            return self.data_token()
        from toolorchestra.kit.kubernetes_client import person_token  # noqa: PLC0415 - half a second that `ask` need not wait

        token = asyncio.run(person_token(self.context))
        if token is None:
            raise UnauthenticatedError(
                "your kubeconfig signs in without a token, which only the API server can check",
                hint=f"act as a ServiceAccount of namespace {self.tenant()}: --service-account NAME",
            )
        return token

    @contextmanager
    def forwarded(self) -> Iterator[str]:
        """The platform's URL on this machine for as long as the block lasts. Raises NotFoundError, UnavailableError."""
        namespace, service, port = self._service()
        command = (*self._command(), "port-forward", "--namespace", namespace, f"service/{service}", f":{port}")
        with tempfile.TemporaryFile() as errors:
            child = subprocess.Popen(leashed(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors)
            try:
                yield f"http://127.0.0.1:{_local_port(child, errors)}"
            finally:
                child.send_signal(signal.SIGTERM)
                child.communicate()

    def _service(self) -> tuple[str, str, int]:
        """Namespace, name and port of the one Service of an orchestrator."""
        found = self._json("get", "services", "--all-namespaces", f"--selector={COMPONENT}", "--output=json")["items"]
        names = [f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in found]
        if not found:
            raise NotFoundError(f"no Service with the label {COMPONENT} is there", hint="install the chart toolorchestra")
        if len(found) > 1:
            raise ConflictError(
                f"there are several platforms: {', '.join(names)}",
                hint="forward one yourself, kubectl port-forward --namespace NAMESPACE service/NAME 8080, and give --url",
            )
        return found[0]["metadata"]["namespace"], found[0]["metadata"]["name"], int(found[0]["spec"]["ports"][0]["port"])

    def _json(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._run(*arguments))
        return found

    def _run(self, *arguments: str) -> str:
        try:
            done = subprocess.run((*self._command(), *arguments), capture_output=True, text=True, timeout=ANSWER_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise UnavailableError(f"kubectl {arguments[0]} did not answer in {ANSWER_S:g} s") from error
        if done.returncode:
            raise UnavailableError(
                f"kubectl {arguments[0]}: {_last_line(done.stderr)}", hint="correct --context or your rights"
            )
        return done.stdout

    def _command(self) -> tuple[str, ...]:
        program = shutil.which("kubectl")
        if program is None:
            raise NotFoundError(
                "kubectl is not installed here, and it is what reaches into a cluster",
                hint="install it, or give --url and --key of a platform that you can reach otherwise",
            )
        return (program, "--context", self.context) if self.context else (program,)


def _local_port(child: "subprocess.Popen[bytes]", errors: Any) -> int:
    """The port that kubectl announces: ``Forwarding from 127.0.0.1:40123 -> 8080``."""
    until = time.monotonic() + FORWARD_S
    output = child.stdout
    while output is not None and (left := until - time.monotonic()) > 0:
        if not select.select([output], [], [], left)[0]:
            break
        line = output.readline().decode(errors="replace")
        if not line:
            break
        if line.startswith("Forwarding from 127.0.0.1:"):
            return int(line.removeprefix("Forwarding from 127.0.0.1:").split()[0])
    errors.seek(0)
    said = _last_line(errors.read().decode(errors="replace"))
    raise UnavailableError(f"kubectl port-forward does not work: {said or 'it said nothing'}", hint="give --url instead")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else ""
