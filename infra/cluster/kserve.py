"""KServe's controller with its webhooks, from the manifest of its release, cut to what one node needs.

Left out: cert-manager (the certificate is made here), the controllers of other kinds, the proxy before the metrics. Changed:
Deployments are what models run as, no Ingress is made, and a model's URL is the name of its Service.
"""

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from infra.cluster import pki
from infra.cluster.images import Image
from infra.cluster.node import Node
from infra.cluster.recipes import FILES, KSERVE
from infra.cluster.steps import step, wait_for

NAMESPACE: Final = "kserve"
IMAGE: Final = f"localhost/kserve-controller:v{KSERVE}"
CONTROLLER: Final = "kserve-controller-manager"
_WEBHOOK_HOST: Final = f"kserve-webhook-server-service.{NAMESPACE}.svc"
_RESOURCES: Final = "inferenceservices,servingruntimes,clusterservingruntimes,trainedmodels,inferencegraphs"
_OTHER_KINDS: Final = {"CustomResourceDefinition", "Certificate", "Issuer", "ClusterStorageContainer", "DaemonSet"}
_OTHER_NAMES: Final = re.compile(
    r"llmisvc|localmodel|llminference|kserve-proxy|metrics-service|kserve-controller-manager-service|kserve-webhook-server-secret"
)
_CONFIG: Final = {
    "deploy": {"defaultDeploymentMode": "Standard"},
    "inferenceService": {"resource": {"cpuLimit": "1", "memoryLimit": "1Gi", "cpuRequest": "10m", "memoryRequest": "32Mi"}},
    "service": {"serviceClusterIPNone": False},
}
_INGRESS: Final = {
    "disableIngressCreation": True,
    "disableIstioVirtualHost": True,
    "enableGatewayApi": False,
    "ingressDomain": "svc.cluster.local",
    "domainTemplate": "{{ .Name }}-predictor.{{ .Namespace }}.{{ .IngressDomain }}",
}


def install(node: Node) -> None:
    """Install KServe and wait until its controller and its webhooks work; what is there already stays."""
    kubectl, manifests = node.kubectl, node.store.folder("kserve-manifests") / f"install/v{KSERVE}"
    with step(f"KServe {KSERVE}: resources"):
        kubectl("apply", "--server-side", "-f", manifests / "kserve-crds.yaml")
        wait_for("KServe's resources are served", lambda: kubectl.succeeds("get", _RESOURCES, "-A"))
    with step(f"KServe {KSERVE}: controller and webhooks"):
        node.load_image(_image(node.store.program("kserve-manager")))
        authority = _webhook_certificate(node.folder / "pki" / "kserve")
        objects = [adapted(one, authority.certificate.read_bytes()) for one in released(manifests / "kserve.yaml")]
        # A webhook without its server would refuse what the server's own installation needs.
        hooks = [one for one in objects if _is_webhook(one)]
        kubectl.apply(
            yaml.safe_dump_all([_namespace(), *(one for one in objects if one not in hooks), _secret(authority.folder)])
        )
        node.wait_for_deployment(NAMESPACE, CONTROLLER)
        kubectl.apply(yaml.safe_dump_all(hooks))
        probe = ("apply", "--dry-run=server", "-f", FILES / "inferenceservice.yaml")
        wait_for("KServe's webhooks answer", lambda: kubectl.succeeds(*probe))


def released(manifest: Path) -> Iterator[dict[str, Any]]:
    """The objects of the release that are kept; what is left out is not even parsed, which saves most of the time."""
    for text in re.split(r"(?m)^---$", manifest.read_text(encoding="utf-8")):
        kind, name = (re.search(pattern, text) for pattern in (r"(?m)^kind: (.*)$", r"(?m)^  name: (.*)$"))
        if kind and name and kind[1] not in _OTHER_KINDS and not _OTHER_NAMES.search(name[1]):
            yield yaml.safe_load(text)


def adapted(released_object: dict[str, Any], ca: bytes) -> dict[str, Any]:
    """The object as one node needs it; ``ca`` is who signed the webhooks' certificate."""
    kind = released_object["kind"]
    if kind == "ConfigMap":
        return {**released_object, "data": _config(released_object["data"])}
    if kind == "Deployment":
        pod = released_object["spec"]["template"]["spec"]
        pod["containers"] = [_manager(one) for one in pod["containers"] if one["name"] == "manager"]
    if _is_webhook(released_object):
        # What is left of its metadata asked cert-manager for a certificate.
        released_object["metadata"] = {"name": released_object["metadata"]["name"]}
        for webhook in released_object["webhooks"]:
            webhook["clientConfig"]["caBundle"] = base64.b64encode(ca).decode()
    return released_object


def _config(data: dict[str, str]) -> dict[str, str]:
    ingress = json.dumps({**json.loads(data["ingress"]), **_INGRESS})
    ours = {key: json.dumps(value) for key, value in _CONFIG.items()}
    return {**{key: value for key, value in data.items() if key != "_example"}, "ingress": ingress, **ours}


def _manager(container: dict[str, Any]) -> dict[str, Any]:
    """Our own image, small requests, and probes that do not wait half a minute first."""
    return {
        **container,
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "args": ["--metrics-addr=0"],
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
        "readinessProbe": {**container["readinessProbe"], "initialDelaySeconds": 1, "periodSeconds": 1},
        "livenessProbe": {**container["livenessProbe"], "initialDelaySeconds": 1, "periodSeconds": 10},
    }


def _image(manager: Path) -> Image:
    config = {"Entrypoint": ["/manager"], "User": "65532:65532"}
    return Image(IMAGE, {"/manager": manager}, config=config)


def _namespace() -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}


def _webhook_certificate(folder: Path) -> pki.Authority:
    authority = pki.Authority(folder, "ca").create()
    names = [f"DNS:{_WEBHOOK_HOST}", f"DNS:{_WEBHOOK_HOST}.cluster.local"]
    authority.issue("tls", f"/CN={_WEBHOOK_HOST}", usage="serverAuth", names=names)
    return authority


def _secret(folder: Path) -> dict[str, Any]:
    files = ("tls.crt", "tls.key")
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": "kserve-webhook-server-cert", "namespace": NAMESPACE},
        "data": {name: base64.b64encode((folder / name).read_bytes()).decode() for name in files},
    }


def _is_webhook(one: dict[str, Any]) -> bool:
    return str(one["kind"]).endswith("WebhookConfiguration")
