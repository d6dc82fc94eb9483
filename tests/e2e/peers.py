"""What the platform calls in these tests, as pods of one restricted namespace: HTTP tools and OpenAI-compatible servers."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

PEERS: Final = "peers"
PORT: Final = 8080
PLATFORM_IMAGE: Final = "localhost/toolorchestra/platform:0.1.0"
JOBS_IMAGE: Final = "localhost/toolorchestra/jobs:0.1.0"
LOCAL_MODEL_IMAGE: Final = "localhost/toolorchestra/local-model:0.1.0"
USER: Final = 65_532
TOOLS: Final = "tools"
MANAGER: Final = "manager"
MATH: Final = {"math-a": "The derivative of x squared is 2x.", "math-b": "Two x, as every analyst knows."}
ADDRESSES: Final = [f"{name}.{PEERS}.svc:{PORT}" for name in (TOOLS, MANAGER, *MATH)]


def url_of(peer: str) -> str:
    return f"http://{peer}.{PEERS}.svc:{PORT}"


def manifests() -> list[dict[str, Any]]:
    """All of them, with the namespace and what they serve."""
    found = [
        *_server(
            TOOLS, ["python", "/etc/peer/tool_server.py", str(PORT)], {"tool_server.py": _text("tool_server.py")}, "/visits"
        ),
        *_server(MANAGER, _provider("counting"), {}, "/v1/models"),
    ]
    for name, answer in MATH.items():
        known = json.dumps({"answers": [{"facts": ["derivative"], "answer": answer}]})
        found += _server(name, _provider("math", "--simulated=/etc/peer/known.json"), {"known.json": known}, "/v1/models")
    return [restricted_namespace(PEERS), *found]


def restricted_namespace(name: str) -> dict[str, Any]:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _provider(model: str, *more: str) -> list[str]:
    return ["python", "-m", "toolorchestra.executors.testing", "--host=0.0.0.0", f"--port={PORT}", f"--model={model}", *more]


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _server(name: str, command: Sequence[str], files: Mapping[str, str], probe: str) -> list[dict[str, Any]]:
    metadata = {"name": name, "namespace": PEERS, "labels": {"peer": name}}
    container = {
        "name": name,
        "image": PLATFORM_IMAGE,
        "imagePullPolicy": "Never",
        "command": list(command),
        "ports": [{"containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": probe, "port": PORT}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "files", "mountPath": "/etc/peer"}],
    }
    pod = {
        "securityContext": {"runAsNonRoot": True, "runAsUser": USER, "seccompProfile": {"type": "RuntimeDefault"}},
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
        "volumes": [{"name": "files", "configMap": {"name": name}}],
    }
    service = {"selector": {"peer": name}, "ports": [{"port": PORT}]}
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(files)},
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod},
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service},
    ]
