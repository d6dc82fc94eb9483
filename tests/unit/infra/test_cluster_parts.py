"""How the parts of the cluster are built and described: everything that needs no process."""

import base64
import hashlib
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from infra.cluster import kserve, machine, pki
from infra.cluster.build import Store, copy_matching, go_environment, go_mod
from infra.cluster.controlplane import ControlPlane, Ports
from infra.cluster.images import Image
from infra.cluster.recipes import CONTROL_PLANE, NODE, RECIPES, WITH_KUEUE
from infra.cluster.record import Record
from infra.cluster.steps import ClusterError


def test_another_version_program_or_flag_is_another_folder():
    recipe = RECIPES["coredns"]
    others = [replace(recipe, version="1.0.0"), replace(recipe, values=("a=b",)), replace(recipe, program="etcd.go")]
    assert len({one.folder for one in (recipe, *others)}) == 4
    assert recipe.folder == replace(recipe).folder


def test_every_named_part_has_a_recipe_and_every_program_of_ours_a_source():
    assert {*CONTROL_PLANE, *NODE, *WITH_KUEUE} == set(RECIPES)
    assert [recipe.name for recipe in RECIPES.values() if recipe.program and "package main" not in recipe.source] == []


def test_a_module_of_ours_takes_what_kubernetes_is_published_in_at_the_version_beside_it():
    staged = "replace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n\tk8s.io/other => k8s.io/other v1.0.0\n)\n"
    assert go_mod(replace(RECIPES["kubelet"], version="1.35.4"), staged).splitlines()[4:] == [
        "require k8s.io/kubernetes v1.35.4",
        "",
        "replace k8s.io/api => k8s.io/api v0.35.4",
    ]


def test_a_build_never_uses_the_users_caches():
    environment = go_environment({"GOCACHE": "/home/a/go-build", "GOPROXY": "direct"}, Path("/cache/go"))
    assert environment["GOCACHE"] == "/cache/go/build"
    assert environment["GOMODCACHE"] == "/cache/go/mod"
    assert environment["GOPROXY"] == "direct"


def test_only_complete_parts_count_and_pruning_keeps_the_current_ones(tmp_path):
    store = Store(tmp_path)
    store.folder("etcd").mkdir()
    for rest in ("draft-1/result", "go/build", "etcd-3.0.0-00000000"):
        (tmp_path / rest).mkdir(parents=True)

    assert store.missing(["etcd", "kubectl"]) == ["kubectl"]
    store.prune()

    assert {path.name for path in tmp_path.iterdir()} == {"lock", store.folder("etcd").name}


def test_files_are_kept_at_their_paths_and_a_pattern_without_files_is_an_error(tmp_path):
    source, target = tmp_path / "module", tmp_path / "kept"
    (source / "charts/a").mkdir(parents=True)
    (source / "charts/a/Chart.yaml").write_text("name: a")

    copy_matching(source, "charts/**/*", target)

    assert (target / "charts/a/Chart.yaml").read_text() == "name: a"
    with pytest.raises(ClusterError, match="module holds no install"):
        copy_matching(source, "install/*", target)


def test_an_image_is_an_archive_whose_digests_fit_and_the_same_files_give_the_same_bytes(tmp_path):
    (tmp_path / "program").write_bytes(b"\x7fELF")
    image = Image(
        "localhost/a:1",
        files={"/bin/a": tmp_path / "program"},
        texts={"/etc/a.conf": "x"},
        links={"/bin/b": "/bin/a"},
        config={"Entrypoint": ["/bin/a"]},
    )
    for name in ("one.tar", "two.tar"):
        image.write(tmp_path / name, machine="x86_64")

    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    blobs = contents(tmp_path / "one.tar")
    manifest_entry = json.loads(blobs["index.json"])["manifests"][0]
    assert manifest_entry["annotations"] == {
        "io.containerd.image.name": "localhost/a:1",
        "org.opencontainers.image.ref.name": "1",
    }
    manifest = json.loads(fetch(blobs, manifest_entry))
    config = json.loads(fetch(blobs, manifest["config"]))
    (tmp_path / "layer.tar").write_bytes(fetch(blobs, manifest["layers"][0]))
    assert config == {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": ["/bin/a"]},
        "rootfs": {"type": "layers", "diff_ids": [manifest["layers"][0]["digest"]]},
    }
    with tarfile.open(tmp_path / "layer.tar") as layer:
        assert {entry.name: (oct(entry.mode), entry.linkname) for entry in layer} == {
            "bin": ("0o755", ""),
            "etc": ("0o755", ""),
            "etc/a.conf": ("0o644", ""),
            "bin/a": ("0o755", ""),
            "bin/b": ("0o755", "/bin/a"),
        }


def contents(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {entry.name: file.read() for entry in tar if (file := tar.extractfile(entry))}


def fetch(blobs: dict[str, bytes], entry: dict[str, object]) -> bytes:
    """A blob by what refers to it, which must fit."""
    digest = str(entry["digest"]).removeprefix("sha256:")
    blob = blobs[f"blobs/sha256/{digest}"]
    assert (hashlib.sha256(blob).hexdigest(), len(blob)) == (digest, entry["size"])
    return blob


@pytest.mark.parametrize(
    ("address", "controllers", "expected"),
    [
        ("127.0.0.1", True, {"--endpoint-reconciler-type=none"}),
        ("10.244.0.1", True, {"--endpoint-reconciler-type=lease"}),
        ("127.0.0.1", False, {"--endpoint-reconciler-type=none", "--disable-admission-plugins=ServiceAccount"}),
    ],
)
def test_the_api_server_fits_where_it_runs_and_what_runs_beside_it(tmp_path, address, controllers, expected):
    plane = ControlPlane(tmp_path, Store(tmp_path), address=address, ports=Ports(1, 2, 3), controllers=controllers)
    command = plane.api_server()
    assert {word for word in command if "reconciler" in word or "admission" in word} == expected
    assert {f"--bind-address={address}", "--secure-port=3", "--authorization-mode=Node,RBAC"} <= set(command)
    assert plane.url == f"https://{address}:3"


def test_an_identity_keeps_its_token_and_a_kubeconfig_holds_all_it_needs(tmp_path):
    identities = {"admin": pki.Identity("admin", "system:masters"), "proxy": pki.Identity("system:kube-proxy")}
    first = pki.tokens(tmp_path, identities)
    (tmp_path / "ca.crt").write_text("certificate")

    config = yaml.safe_load(pki.kubeconfig("https://127.0.0.1:1", tmp_path / "ca.crt", first["admin"]))

    assert pki.tokens(tmp_path, identities) == first
    assert first["admin"] != first["proxy"]
    assert (tmp_path / "tokens.csv").stat().st_mode & 0o777 == 0o600
    assert config["users"][0]["user"] == {"token": first["admin"]}
    assert config["clusters"][0]["cluster"] == {
        "server": "https://127.0.0.1:1",
        "certificate-authority-data": base64.b64encode(b"certificate").decode(),
    }


def test_networks_that_share_addresses_are_found():
    routes = [
        {"dst": "default", "dev": "eth0"},
        {"dst": "10.244.0.0/16", "dev": "flannel"},
        {"dst": "10.244.0.0/24", "dev": "ours"},
        {"dst": "192.168.1.0/24", "dev": "eth0"},
        {"dst": "10.96.4.2", "dev": "vpn"},
    ]
    assert machine.overlapping(("10.244.0.0/24", "10.96.0.0/16"), routes, "ours") == ["10.244.0.0/16", "10.96.4.2"]


@pytest.mark.parametrize(
    ("texts", "servers"),
    [
        (["nameserver 127.0.0.53\n", "search a\nnameserver 10.0.0.2\nnameserver fe80::1%eth0\n"], ["10.0.0.2", "fe80::1%eth0"]),
        (["nameserver 10.0.0.1\n", "nameserver 10.0.0.2\n"], ["10.0.0.1"]),
        (["nameserver ::1\n", "# none\n"], []),
    ],
)
def test_only_name_servers_that_a_pod_can_reach_are_asked(texts, servers):
    assert machine.nameservers(texts) == servers


def test_folders_that_were_missing_are_noted_before_they_are_made(tmp_path):
    noted = Record(str(tmp_path / "node"), path=str(tmp_path / "record.json"))
    (tmp_path / "var").mkdir()

    noted.make_folders([tmp_path / "var", tmp_path / "var/lib/cni", tmp_path / "var/lib/kubelet"])

    assert noted.made == [str(tmp_path / "var/lib"), str(tmp_path / "var/lib/cni"), str(tmp_path / "var/lib/kubelet")]
    assert Record(**json.loads((tmp_path / "record.json").read_text())) == noted


def test_kserve_keeps_what_one_node_needs_of_its_release(tmp_path):
    kept, left_out = (
        ("Service", "kserve-webhook-server-service"),
        [("Certificate", "serving-cert"), ("Service", "llmisvc-webhook")],
    )
    objects = [{"kind": kind, "metadata": {"name": name}} for kind, name in (kept, *left_out)]
    (tmp_path / "release.yaml").write_text(yaml.safe_dump_all(objects))

    assert [(one["kind"], one["metadata"]["name"]) for one in kserve.released(tmp_path / "release.yaml")] == [kept]


def test_kserve_is_adapted_to_one_node():
    probe = {"initialDelaySeconds": 30, "httpGet": {"path": "/readyz"}}
    manager = {
        "name": "manager",
        "image": "kserve/kserve-controller",
        "readinessProbe": probe,
        "livenessProbe": probe,
        "env": [1],
    }
    deployment = {"kind": "Deployment", "spec": {"template": {"spec": {"containers": [manager, {"name": "kube-rbac-proxy"}]}}}}
    config = {
        "kind": "ConfigMap",
        "data": {"_example": "long", "ingress": '{"ingressGateway": "a/b", "ingressDomain": "x"}', "other": "1"},
    }
    hook = {
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "a", "annotations": {"cert-manager.io/inject-ca-from": "x"}},
        "webhooks": [{"clientConfig": {"caBundle": "Cg=="}}],
    }

    containers = kserve.adapted(deployment, b"")["spec"]["template"]["spec"]["containers"]
    data = kserve.adapted(config, b"")["data"]

    assert [(one["name"], one["image"], one["imagePullPolicy"], one["env"]) for one in containers] == [
        ("manager", kserve.IMAGE, "Never", [1])
    ]
    assert containers[0]["readinessProbe"] == {"initialDelaySeconds": 1, "periodSeconds": 1, "httpGet": {"path": "/readyz"}}
    assert json.loads(data["deploy"]) == {"defaultDeploymentMode": "Standard"}
    assert {key: json.loads(data["ingress"])[key] for key in ("ingressGateway", "ingressDomain", "disableIngressCreation")} == {
        "ingressGateway": "a/b",
        "ingressDomain": "svc.cluster.local",
        "disableIngressCreation": True,
    }
    assert "_example" not in data
    assert data["other"] == "1"
    assert kserve.adapted(hook, b"ca") == {
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "a"},
        "webhooks": [{"clientConfig": {"caBundle": base64.b64encode(b"ca").decode()}}],
    }
