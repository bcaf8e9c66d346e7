"""The collection's execution environment, built by ansible-builder from what ships, on a base of Debian packages."""
from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import docker
from docker.errors import BuildError, ImageNotFound

from .images import Builder
from .instance import ROOT, STATE
from .progress import Progress
from .recipe import PREFIX, LabError, Recipe

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
BUILD_SECONDS = 120


def base() -> Recipe:
    """What stands for the base image of meta/execution-environment.yml: Debian with pip, which reaches the registry as this machine's does."""
    certificates = Path(os.environ.get("SSL_CERT_FILE", CERTIFICATES))
    return Recipe(
        name="environment-base",
        suite="trixie",
        packages=("python3", "python3-pip", "python3-venv", "ca-certificates", "git", "openssh-client"),
        files={CERTIFICATES: (certificates, 0o644), "/etc/pip.conf": (_pip_settings().encode(), 0o644)},
        command=("bash",),
    )


def _pip_settings() -> str:
    """Where this machine's pip looks, with the certificates that are in the image."""
    told = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True, timeout=60).stdout
    found = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
    wanted = {name.rpartition(".")[2]: value.strip("'") for name, value in found.items()}
    kept = [f"{name} = {wanted[name]}" for name in ("index-url", "trusted-host", "timeout") if name in wanted]
    return "\n".join(["[global]", f"cert = {CERTIFICATES}", *kept, ""])


def ensure(client: docker.DockerClient, progress: Progress) -> str:
    """Tag of the image, built when this engine has none of the same content. Raises `LabError`."""
    bottom = Builder(client, STATE, progress).ensure([base()])["environment-base"]
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}-") as scratch:
        context = _context(Path(scratch))
        tag = f"{PREFIX}/environment:{_digest(Path(scratch) / 'tree', context, bottom)}"
        try:
            client.images.get(tag)
        except ImageNotFound:
            _build(client, context, bottom, tag)
            with (STATE / "images").open("a") as handle:
                handle.write(f"{tag}\n")
    return tag


def _context(scratch: Path) -> Path:
    """The build context, made of what the collection ships: its artifact, unpacked, with itself in `dist`."""
    tree = scratch / "tree"
    _run("ansible-galaxy", "collection", "build", "--output-path", str(tree / "dist"), str(ROOT))
    artifact = next((tree / "dist").iterdir())
    with tarfile.open(artifact) as packed:
        packed.extraction_filter = getattr(tarfile, "data_filter", None)  # Debian 12 has none
        packed.extractall(tree)
    _run("ansible-builder", "create", "--file", str(tree / "meta" / "execution-environment.yml"), "--context", str(scratch / "context"),
         "--output-filename", "Dockerfile")
    return scratch / "context"


def _digest(tree: Path, context: Path, bottom: str) -> str:
    """Of the content: the artifact itself has times in it."""
    parts = [tree / "FILES.json", context / "Dockerfile", context / "_build" / "requirements.txt", context / "_build" / "bindep.txt"]
    return hashlib.sha256(b"".join([bottom.encode(), *(part.read_bytes() for part in parts)])).hexdigest()[:12]


def _run(program: str, *arguments: str) -> None:
    place = shutil.which(program, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    done = subprocess.run([place or program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=BUILD_SECONDS)
    if done.returncode:
        raise LabError(f"`{program} {' '.join(arguments[:2])}` failed ({(done.stderr or done.stdout).strip()[-400:]}): correct what it names.")


def _build(client: docker.DockerClient, context: Path, bottom: str, tag: str) -> None:
    arguments = {"EE_BASE_IMAGE": bottom, **{name: os.environ[name] for name in PROXIES if name in os.environ}}
    try:
        client.images.build(path=str(context), dockerfile="Dockerfile", tag=tag, buildargs=arguments, rm=True, forcerm=True)
    except BuildError as error:
        lines = [line["stream"].rstrip() for line in error.build_log if line.get("stream", "").strip()]
        raise LabError(f"The execution environment cannot be built ({error.msg}): {' / '.join(lines[-5:])}") from error
