"""Copies an image of the engine into a registry over HTTPS, with the same digest every time.

The engine could push too, but then it must trust the lab's authority or reach the registry from outside the lab's network, and the
digest would depend on its version.
"""
from __future__ import annotations

import hashlib
import json
import tarfile
import tempfile
import zlib
from pathlib import Path
from typing import IO

import requests
from docker.models.images import Image

from .recipe import LabError

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
ACCEPT = f"{MANIFEST}, application/vnd.oci.image.manifest.v1+json"
BLOCK = 1 << 20
SECONDS = 120  # without a byte, for one question
GZIP = b"\x1f\x8b"


class Repository:
    """One repository of the registry `host` (name:port), whose certificate the authority `ca` signed."""

    def __init__(self, host: str, name: str, ca: Path) -> None:
        self._base = f"https://{host}/v2/{name}"
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = str(ca)

    def digest(self, version: str) -> str:
        """Digest of the manifest that a tag has; "" without the tag."""
        answer = self._ask("HEAD", f"{self._base}/manifests/{version}", (200, 404), headers={"Accept": ACCEPT})
        return answer.headers["Docker-Content-Digest"] if answer.status_code == 200 else ""

    def push(self, image: Image, version: str) -> str:
        """Give the tag `version` to a copy of `image`; returns its digest."""
        with tempfile.TemporaryDirectory(prefix="localai-lab-push-") as name, open(f"{name}/image.tar", "w+b") as archive:
            for chunk in image.save(chunk_size=BLOCK):
                archive.write(chunk)
            archive.seek(0)
            with tarfile.open(fileobj=archive) as tar:
                manifest = self._blobs(tar, Path(name))
        return self._ask("PUT", f"{self._base}/manifests/{version}", (201,), data=manifest, headers={"Content-Type": MANIFEST}).headers["Docker-Content-Digest"]

    def _blobs(self, tar: tarfile.TarFile, scratch: Path) -> bytes:
        """Upload configuration and layers of a `docker save` archive; returns the manifest that names them."""
        parts = json.loads(_member(tar, "manifest.json").read())[0]
        config = scratch / "config"
        config.write_bytes(_member(tar, parts["Config"]).read())
        described = [{"mediaType": LAYER, **self._blob(compress(_member(tar, path), scratch / "layer"))} for path in parts["Layers"]]
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": {"mediaType": CONFIG, **self._blob(config)}, "layers": described}
        return json.dumps(manifest, sort_keys=True).encode()

    def _blob(self, path: Path) -> dict[str, object]:
        with path.open("rb") as handle:
            digest = f"sha256:{hashlib.file_digest(handle, 'sha256').hexdigest()}"
        if self._ask("HEAD", f"{self._base}/blobs/{digest}", (200, 404)).status_code == 404:
            place = self._ask("POST", f"{self._base}/blobs/uploads/", (202,)).headers["Location"]
            with path.open("rb") as handle:
                self._ask("PUT", place, (201,), params={"digest": digest}, data=handle, headers={"Content-Type": "application/octet-stream"})
        return {"size": path.stat().st_size, "digest": digest}

    def _ask(self, method: str, url: str, wanted: tuple[int, ...], **more: object) -> requests.Response:
        try:
            answer = self._session.request(method, url, timeout=SECONDS, **more)  # type: ignore[arg-type]
        except requests.RequestException as error:
            raise LabError(f"The lab's registry does not answer {method} {url} ({error}): see `python -m tests.lab logs registry`.") from error
        if answer.status_code not in wanted:
            said = f"{answer.status_code} to {method} {url} ({answer.text[:200]})"
            raise LabError(f"The lab's registry answered {said}: see `python -m tests.lab logs registry`.")
        return answer


def compress(source: IO[bytes], out: Path) -> Path:
    """`source` as gzip with the same bytes every time; what is gzip already stays as it is."""
    block = source.read(BLOCK)
    packer = None if block.startswith(GZIP) else zlib.compressobj(1, zlib.DEFLATED, 31)
    with out.open("wb") as target:
        while block:
            target.write(packer.compress(block) if packer else block)
            block = source.read(BLOCK)
        target.write(packer.flush() if packer else b"")
    return out


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    found = tar.extractfile(name)
    if found is None:
        raise LabError(f"The engine's copy of the image lacks {name}: see dockerd's log.")
    return found
