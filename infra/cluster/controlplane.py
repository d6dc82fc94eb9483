"""How etcd, the API server, the controller manager and the scheduler are started; the same on a node and without one."""

import ssl
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Final

from infra.cluster import pki
from infra.cluster.build import Store
from infra.cluster.kubectl import Kubectl

LOOPBACK: Final = "127.0.0.1"
SERVICE_NET: Final = "10.96.0.0/16"
API_SERVICE_IP: Final = "10.96.0.1"
NODE_NAME: Final = "node1"
_SERVICE_NAMES: Final = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
_IDENTITIES: Final = {
    "admin": pki.Identity("admin", "system:masters"),
    "controller-manager": pki.Identity("system:kube-controller-manager"),
    "scheduler": pki.Identity("system:kube-scheduler"),
    "kubelet": pki.Identity(f"system:node:{NODE_NAME}", "system:nodes"),
    "proxy": pki.Identity("system:kube-proxy"),
}


@dataclass(frozen=True)
class Ports:
    """On which ports the control plane listens."""

    etcd: int = 2379
    etcd_peer: int = 2380
    api: int = 6443


@dataclass(frozen=True)
class ControlPlane:
    """The commands of one control plane and the files that they share; everything it keeps is below ``folder``.

    ``address`` is where the API server listens. ``controllers`` says whether a controller manager runs beside it; without one
    no ServiceAccount is made, so Pods are admitted without.
    """

    folder: Path
    store: Store
    address: str = LOOPBACK
    ports: Ports = Ports()
    controllers: bool = True

    @property
    def keys(self) -> Path:
        return self.folder / "pki"

    @property
    def url(self) -> str:
        return f"https://{self.address}:{self.ports.api}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.folder / "kubeconfig"

    @property
    def ca_path(self) -> Path:
        return self.keys / "ca.crt"

    @property
    def token(self) -> str:
        """The administrator's."""
        return pki.tokens(self.keys, _IDENTITIES)["admin"]

    @property
    def kubectl(self) -> Kubectl:
        return Kubectl(self.store.program("kubectl"), self.kubeconfig, self.folder / "kubectl-cache")

    def config_of(self, who: str) -> Path:
        """The kubeconfig of a part of the cluster."""
        return self.keys / f"{who}.kubeconfig"

    def write_files(self) -> None:
        """Keys, certificates, tokens and kubeconfigs."""
        ca = pki.Authority(self.keys, "ca").create()
        addresses = [f"IP:{ip}" for ip in {LOOPBACK, self.address, API_SERVICE_IP}]
        ca.issue(
            "apiserver",
            "/CN=kube-apiserver",
            usage="serverAuth",
            names=[*addresses, *(f"DNS:{name}" for name in ("localhost", *_SERVICE_NAMES))],
        )
        ca.issue("kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client", usage="clientAuth")
        pki.Authority(self.keys, "front-proxy-ca").create().issue(
            "front-proxy-client", "/CN=front-proxy-client", usage="clientAuth"
        )
        pki.Authority(self.keys, "etcd-ca").create().issue(
            "etcd", "/CN=etcd", usage="serverAuth,clientAuth", names=[f"IP:{LOOPBACK}"]
        )
        pki.signing_key(self.keys, "service-accounts")
        for who, token in pki.tokens(self.keys, _IDENTITIES).items():
            path = self.kubeconfig if who == "admin" else self.config_of(who)
            pki.write_private(path, pki.kubeconfig(self.url, ca.certificate, token))

    def etcd(self) -> list[str]:
        client, peer = (
            f"{scheme}://{LOOPBACK}:{port}" for scheme, port in (("https", self.ports.etcd), ("http", self.ports.etcd_peer))
        )
        return [
            *self._program("etcd"),
            f"--data-dir={self.folder / 'etcd'}",
            *(f"--{option}={client}" for option in ("listen-client-urls", "advertise-client-urls")),
            *(f"--{option}={peer}" for option in ("listen-peer-urls", "initial-advertise-peer-urls")),
            f"--initial-cluster=default={peer}",
            *(
                f"--{option}={self.keys / file}"
                for option, file in (("cert-file", "etcd.crt"), ("key-file", "etcd.key"), ("trusted-ca-file", "etcd-ca.crt"))
            ),
            "--client-cert-auth",
            # What is kept here need not outlive a power cut.
            "--unsafe-no-fsync",
            "--logger=zap",
            "--log-level=warn",
        ]

    def api_server(self) -> list[str]:
        keys = self.keys
        files = {
            "etcd-cafile": "etcd-ca.crt",
            "etcd-certfile": "etcd.crt",
            "etcd-keyfile": "etcd.key",
            "tls-cert-file": "apiserver.crt",
            "tls-private-key-file": "apiserver.key",
            "client-ca-file": "ca.crt",
            "token-auth-file": "tokens.csv",
            "service-account-key-file": "service-accounts.pub",
            "service-account-signing-key-file": "service-accounts.key",
            "kubelet-client-certificate": "kubelet-client.crt",
            "kubelet-client-key": "kubelet-client.key",
            "requestheader-client-ca-file": "front-proxy-ca.crt",
            "proxy-client-cert-file": "front-proxy-client.crt",
            "proxy-client-key-file": "front-proxy-client.key",
        }
        # An endpoint on loopback is not allowed, so without a node the `kubernetes` Service has none.
        reconciler = "none" if self.address == LOOPBACK else "lease"
        return [
            *self._program("kube-apiserver"),
            f"--etcd-servers=https://{LOOPBACK}:{self.ports.etcd}",
            f"--bind-address={self.address}",
            f"--advertise-address={self.address}",
            f"--secure-port={self.ports.api}",
            *(f"--{option}={keys / file}" for option, file in files.items()),
            "--authorization-mode=Node,RBAC",
            f"--service-cluster-ip-range={SERVICE_NET}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--endpoint-reconciler-type={reconciler}",
            "--kubelet-preferred-address-types=InternalIP",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--allow-privileged=true",
            "--profiling=false",
            *([] if self.controllers else ["--disable-admission-plugins=ServiceAccount"]),
        ]

    def controller_manager(self, *, port: int = 0) -> list[str]:
        """``port`` is where it answers probes; 0 is nowhere."""
        return [
            *self._program("kube-controller-manager"),
            *self._configs("controller-manager"),
            f"--service-account-private-key-file={self.keys / 'service-accounts.key'}",
            f"--root-ca-file={self.ca_path}",
            f"--cluster-signing-cert-file={self.ca_path}",
            f"--cluster-signing-key-file={self.keys / 'ca.key'}",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
            f"--bind-address={LOOPBACK}",
            f"--secure-port={port}",
            "--allocate-node-cidrs=false",
            # The defaults bind a volume after up to 15 s and make the first ServiceAccount after 4 s.
            "--pvclaimbinder-sync-period=1s",
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ]

    def scheduler(self) -> list[str]:
        return [
            *self._program("kube-scheduler"),
            *self._configs("scheduler"),
            "--leader-elect=false",
            f"--bind-address={LOOPBACK}",
        ]

    def is_ready(self) -> bool:
        """Whether the API server answers and has made its own first objects."""
        context = ssl.create_default_context(cafile=self.ca_path)
        connection = HTTPSConnection(self.address, self.ports.api, timeout=2, context=context)
        try:
            connection.request("GET", "/readyz", headers={"Authorization": f"Bearer {self.token}"})
            return connection.getresponse().status == HTTPStatus.OK
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def _program(self, name: str) -> tuple[str]:
        return (str(self.store.program(name)),)

    def _configs(self, who: str) -> list[str]:
        path = self.config_of(who)
        return [f"--{option}={path}" for option in ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")]
