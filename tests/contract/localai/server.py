"""A LocalAI server in a hardened container, as the collection runs it, for checks that need one of their own."""
from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Mapping, Optional, Sequence

import docker
from docker.models.containers import Container

from tests.contract.localai.client import Client

UID = 10001
KEY = "contract-key"
CHAT = "chat-model"
OTHER = "other-model"
ALIAS = "gpt-4"
CONTEXT = 1024

_PLAIN_CHAT = {"chat": "{{.Input}}", "chat_message": "{{.Content}}", "completion": "{{.Input}}"}


def model_yaml(name: str, weights: str, **more: Any) -> str:
    """A model file (JSON is YAML) with a plain template and small settings."""
    return json.dumps({
        "name": name, "backend": "llama-cpp", "context_size": CONTEXT, "threads": 1, "parameters": {"model": weights},
        "options": ["parallel:1", "cache_ram:16", "n_ctx_checkpoints:1"], "template": _PLAIN_CHAT, "known_usecases": ["chat", "completion"], **more,
    })


@dataclass
class Images:
    """The two images under test, the weights, and the directory into which the backend was extracted once."""

    server: str
    backend: str
    weights: Path
    engine: docker.DockerClient
    extracted: Path

    @property
    def blob(self) -> str:
        """Name of the weights below the models directory."""
        return f"gguf/{hashlib.sha256(self.weights.name.encode()).hexdigest()}.gguf"


def extract(engine: docker.DockerClient, image: str, target: Path) -> Path:
    """The files of a backend image, from a container that is made and never started."""
    made = engine.containers.create(image, ["/run.sh"], name=f"contract-{uuid.uuid4().hex[:12]}")
    try:
        stream = made.get_archive("/")[0]
        with tempfile.TemporaryFile() as whole:
            for part in stream:
                whole.write(part)
            whole.seek(0)
            with tarfile.open(fileobj=whole) as archive:
                members = [member for member in archive if member.name.lstrip("./").split("/")[0] in ("run.sh", "lib") or "llama-cpp" in member.name]
                for member in members:  # the archive of "/" has absolute names, and the Python of Debian 12 has no filter that makes them others
                    member.name = member.name.lstrip("/")
                archive.extraction_filter = getattr(tarfile, "tar_filter", None)
                archive.extractall(target, members=members)
    finally:
        made.remove(v=True)
    return target


@dataclass
class Server:
    """One container with its own directories; `start` it, change its files, `stop` it. Use as a context manager."""

    images: Images
    environment: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    tmp: bool = True
    data_writable: bool = True
    backend_path: str = "/var/lib/local-ai/backends"
    backend_source: Optional[Path] = None
    root: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="contract-localai-", dir="/var/tmp")))
    container: Optional[Container] = None

    def __enter__(self) -> "Server":
        for name in ("models/gguf", "configuration", "data", "backends"):
            (self.root / name).mkdir(parents=True)
        self.root.chmod(0o755)
        os.chown(self.root / "data", UID, UID)
        link_or_copy(self.images.weights, self.root / "models" / self.images.blob)
        files = self.files or {f"{CHAT}.yaml": model_yaml(CHAT, self.images.blob), f"{ALIAS}.yaml": json.dumps({"name": ALIAS, "alias": CHAT})}
        for name, text in files.items():
            self.write(name, text)
        return self

    def __exit__(self, *_: object) -> None:
        if self.container is not None:
            self.container.remove(force=True, v=True)
        shutil.rmtree(self.root, ignore_errors=True)

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        """Write a file of the models directory."""
        path = self.root / "models" / name
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        return path

    def write_keys(self, keys: Optional[Sequence[str]]) -> None:
        """Put `api_keys.json` in place by rename, or remove it."""
        path = self.root / "configuration" / "api_keys.json"
        if keys is None:
            path.unlink()
            return
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(list(keys)), encoding="utf-8")
        fresh.chmod(0o644)
        fresh.rename(path)

    def start(self) -> "Server":
        """Start the container: not root, read-only, no capabilities, only /tmp and /data writable."""
        mounts = {
            str(self.root / "models"): {"bind": "/models", "mode": "ro"},
            str(self.root / "configuration"): {"bind": "/configuration", "mode": "ro"},
            str(self.root / "data"): {"bind": "/data", "mode": "rw" if self.data_writable else "ro"},
            str(self.backend_source or self._backends()): {"bind": self.backend_path, "mode": "ro"},
        }
        spare = "/backends" if self.backend_path != "/backends" else None
        tmpfs = {**({"/tmp": "mode=1777,size=64m"} if self.tmp else {}), **({spare: "mode=0755"} if spare else {})}
        self.container = self.images.engine.containers.run(
            self.images.server, detach=True, name=f"contract-{uuid.uuid4().hex[:12]}", user=f"{UID}:{UID}", read_only=True, cap_drop=["ALL"],
            security_opt=["no-new-privileges"], init=True, tmpfs=tmpfs, volumes=mounts, environment=self._environment(), cpu_quota=200_000,
        )
        return self

    def _backends(self) -> Path:
        target = self.root / "backends" / "llama-cpp"
        if not target.exists():
            shutil.copytree(self.images.extracted, target, copy_function=link_or_copy)
            target.chmod(0o755)
        return self.root / "backends"

    def _environment(self) -> Mapping[str, str]:
        found = {"LOCALAI_GALLERIES": "[]", "LOCALAI_BACKEND_GALLERIES": "[]", "LOCALAI_API_KEY": KEY, **self.environment}
        return {name: value for name, value in found.items() if value != ""}

    def started(self) -> "Server":
        """Start and wait until it is ready."""
        self.start()
        self.client.wait()
        return self

    @property
    def running(self) -> Container:
        assert self.container is not None, "start it first"
        return self.container

    @property
    def client(self) -> Client:
        """A client with the key."""
        return Client(self.base_url, KEY)

    @property
    def base_url(self) -> str:
        self.running.reload()
        address = self.running.attrs["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
        return f"http://{address}:8080"

    @property
    def log(self) -> str:
        """Everything that the container printed."""
        return self.running.logs().decode("utf-8", "replace")

    def exit_code(self, seconds: float = 30.0) -> int:
        """The exit status of a container that ends by itself. Raises on a container that does not."""
        return int(self.running.wait(timeout=seconds)["StatusCode"])

    def stop(self, seconds: int = 60) -> float:
        """SIGTERM, and SIGKILL after `seconds`; how long it took."""
        begin = time.monotonic()
        self.running.stop(timeout=seconds)
        return time.monotonic() - begin

    def read(self, path: str) -> bytes:
        """A file of the container."""
        stream = self.running.get_archive(path)[0]
        with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
            taken = archive.extractfile(archive.next() or "")
            return taken.read() if taken else b""


def link_or_copy(source: Any, target: Any, **_: Any) -> None:
    """A hard link; a copy across file systems."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
