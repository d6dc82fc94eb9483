"""Writes container images, as OCI archives with one layer, from files: no engine and no registry has a part in it."""

import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final

_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Image:
    """What is in an image, by absolute paths.

    ``files`` are copied from this machine and can be executed, ``texts`` are written, ``links`` name their targets. ``config``
    is OCI's, e.g. ``{"Entrypoint": ["/manager"]}``.
    """

    name: str
    files: Mapping[str, Path] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)

    def write(self, path: Path, *, machine: str) -> None:
        """Write the archive; the same content gives the same bytes. ``machine`` is the processor as the kernel names it."""
        with tempfile.TemporaryFile() as layer, tarfile.open(path, "w") as archive:
            _write_layer(self, layer)
            layer_entry = {"mediaType": _LAYER, **_described(layer)}
            config = _json(
                {
                    "architecture": _ARCHITECTURES.get(machine, machine),
                    "os": "linux",
                    "config": dict(self.config),
                    "rootfs": {"type": "layers", "diff_ids": [layer_entry["digest"]]},
                }
            )
            config_entry = {"mediaType": _CONFIG, **_described(config)}
            manifest = _json({"schemaVersion": 2, "mediaType": _MANIFEST, "config": config_entry, "layers": [layer_entry]})
            names = {"io.containerd.image.name": self.name, "org.opencontainers.image.ref.name": self.name.rpartition(":")[2]}
            index = {"schemaVersion": 2, "manifests": [{"mediaType": _MANIFEST, **_described(manifest), "annotations": names}]}
            _add(archive, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}), mode=0o644)
            _add(archive, "index.json", _json(index), mode=0o644)
            for blob in (layer, config, manifest):
                digest = str(_described(blob)["digest"]).removeprefix("sha256:")
                _add(archive, f"blobs/sha256/{digest}", blob, mode=0o644)


def _write_layer(image: Image, layer: IO[bytes]) -> None:
    with tarfile.open(fileobj=layer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for folder in _folders(image):
            _add(tar, folder, kind=tarfile.DIRTYPE)
        for path, text in image.texts.items():
            _add(tar, path, io.BytesIO(text.encode()), mode=0o644)
        for path, source in image.files.items():
            with source.open("rb") as content:
                _add(tar, path, content)
        for path, target in image.links.items():
            _add(tar, path, kind=tarfile.SYMTYPE, target=target)


def _folders(image: Image) -> list[str]:
    """Every folder, outer ones first."""
    paths = [*image.files, *image.texts, *image.links]
    return sorted({str(parent) for path in paths for parent in PurePosixPath(path).parents} - {"/"})


def _add(
    tar: tarfile.TarFile,
    path: str,
    content: IO[bytes] | None = None,
    *,
    mode: int = 0o755,
    kind: bytes = tarfile.REGTYPE,
    target: str = "",
) -> None:
    entry = tarfile.TarInfo(path.lstrip("/"))
    entry.mode, entry.type, entry.linkname = mode, kind, target
    if content:
        entry.size = content.seek(0, io.SEEK_END)
        content.seek(0)
    tar.addfile(entry, content)


def _json(value: Any) -> IO[bytes]:
    return io.BytesIO(json.dumps(value, sort_keys=True).encode())


def _described(content: IO[bytes]) -> dict[str, str | int]:
    """The digest and the size of a blob, as other blobs refer to it."""
    content.seek(0)
    digest = hashlib.sha256()
    while block := content.read(1 << 20):
        digest.update(block)
    return {"digest": f"sha256:{digest.hexdigest()}", "size": content.tell()}
