"""The platform's kinds on a real API server, and manifests sent to it as ``kubectl`` would send them."""

import json
import re
import ssl
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from infra.cluster.local import LocalControlPlane
from toolorchestra.core.crds import NAMES
from toolorchestra.core.resources import API_VERSION, parse_documents

ROOT: Final = Path(__file__).resolve().parents[2]
TEMPLATES: Final = ROOT / "charts" / "toolorchestra-crds" / "templates"


def install_crds(running: LocalControlPlane) -> None:
    """Apply the chart's templates as they are, and wait until the server serves every kind."""
    running.kubectl("apply", "--server-side", "-f", TEMPLATES)
    running.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", TEMPLATES)


class Server:
    """The REST API of a control plane for the platform's kinds; what it refuses is returned, not raised."""

    def __init__(self, running: LocalControlPlane, namespace: str) -> None:
        self.kubectl = running.kubectl
        self.namespace = namespace
        self._client = httpx.Client(
            base_url=running.url,
            verify=ssl.create_default_context(cafile=str(running.ca_path)),
            headers={"Authorization": f"Bearer {running.token}"},
            trust_env=False,
        )

    def close(self) -> None:
        self._client.close()

    def apply(self, manifest: str, *, dry_run: bool = True) -> str:
        """What ``kubectl apply --server-side -n NAMESPACE`` gets: "" if it was accepted, else the server's message."""
        (body,) = parse_documents(manifest, source="manifest")
        body["metadata"]["namespace"] = self.namespace
        url = f"{self._path(body['kind'])}/{body['metadata']['name']}"
        headers = {"Content-Type": "application/apply-patch+yaml"}
        options = _options(dry_run) | {"fieldManager": "kubectl", "force": "true"}
        return _message(self._client.patch(url, params=options, content=json.dumps(body), headers=headers))

    def create(self, body: dict[str, Any], *, dry_run: bool = True) -> str:
        """The same for ``kubectl create``."""
        return _message(self._client.post(self._path(body["kind"]), params=_options(dry_run), json=body))

    def delete(self, kind: str, name: str) -> None:
        self._client.delete(f"{self._path(kind)}/{name}").raise_for_status()

    def published(self) -> dict[str, Any]:
        """The OpenAPI document that ``kubectl explain`` reads."""
        answer = self._client.get(f"/openapi/v3/apis/{API_VERSION}")
        return dict(answer.raise_for_status().json())

    def _path(self, kind: str) -> str:
        return f"/apis/{API_VERSION}/namespaces/{self.namespace}/{NAMES[kind].plural}"


def _options(dry_run: bool) -> dict[str, str]:
    return {"fieldValidation": "Strict"} | ({"dryRun": "All"} if dry_run else {})


def _message(answer: httpx.Response) -> str:
    return "" if answer.is_success else str(answer.json()["message"])


def manifests_in(path: Path) -> list[str]:
    """The platform's manifests in a YAML file, or in the YAML blocks of a Markdown page."""
    text = path.read_text(encoding="utf-8")
    parts = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) if path.suffix == ".md" else [text]
    documents = [document for part in parts for document in re.split(r"^---$", part, flags=re.MULTILINE)]
    return [document for document in documents if re.search(rf"^apiVersion: {API_VERSION}$", document, re.MULTILINE)]


@pytest.fixture(scope="session")
def platform_api(api_server: LocalControlPlane) -> LocalControlPlane:
    """The session's control plane with the platform's kinds installed."""
    install_crds(api_server)
    return api_server
