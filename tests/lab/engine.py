"""The machine's Docker engine: one that answers is used as it is; where none does, it is installed and started."""
from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Callable, Sequence

import docker
from docker.errors import DockerException

from .recipe import LabError

SOCKET = "unix:///var/run/docker.sock"
PACKAGES = ("docker.io", "iproute2", "iptables")
READY_SECONDS = 60
INSTALL_SECONDS = 600
Say = Callable[[str], None]


def connect(url: str = "") -> docker.DockerClient | None:
    """A client of the engine at `url` (default: DOCKER_HOST, or the machine's socket); None when none answers."""
    try:
        client = docker.DockerClient(base_url=url, timeout=600) if url else docker.from_env(timeout=600)
        client.ping()
    except (DockerException, OSError):
        return None
    return client


def ensure_engine(log: Path, say: Say) -> docker.DockerClient:
    """A client of an engine that answers; installs and starts one when there is none. Raises `LabError`."""
    client = connect()
    if client:
        return client
    if os.environ.get("DOCKER_HOST"):
        raise LabError(f"No Docker engine answers at DOCKER_HOST={os.environ['DOCKER_HOST']}: start it, or unset DOCKER_HOST to use this machine's.")
    if os.geteuid() != 0:
        raise LabError("No Docker engine answers on this machine and only root can install and start one: run this as root, or start Docker first.")
    say("No Docker engine answers on this machine: installing what is missing and starting one")
    if not _which("dockerd"):
        install(PACKAGES, say)
        client = connect()  # a package's own service may have started it
        if client:
            return client
    if Path("/run/systemd/system").is_dir():
        return start_service(say)
    return start_daemon(log, say)


def start_service(say: Say) -> docker.DockerClient:
    """Start the engine where systemd runs."""
    say("engine: systemctl start docker")
    done = subprocess.run(["systemctl", "start", "docker"], capture_output=True, text=True, timeout=READY_SECONDS * 2, check=False)
    client = connect(SOCKET)
    if client is None:
        raise LabError(f"systemctl start docker did not give an engine ({done.stderr.strip()[-300:]}): see `journalctl -u docker`.")
    return client


def start_daemon(log: Path, say: Say, arguments: Sequence[str] = (), socket: str = SOCKET) -> docker.DockerClient:
    """Start dockerd in a session of its own, so that it outlives this process; wait until it answers at `socket`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        process = subprocess.Popen(
            [_which("dockerd") or "dockerd", *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, env=_environment(),
        )
    say(f"engine: dockerd started (process {process.pid}, log {log})")
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end:
        client = connect(socket)
        if client:
            say(f"engine: Docker {client.version()['Version']} answers")
            return client
        if process.poll() is not None:
            raise LabError(f"dockerd ended at once with code {process.returncode}: {_last_line(log)} The whole log is {log}.")
        time.sleep(0.3)
    raise LabError(f"dockerd did not answer at {socket} within {READY_SECONDS} s: {_last_line(log)} The whole log is {log}.")


def install(packages: Sequence[str], say: Say) -> None:
    """Install Debian or Ubuntu packages with apt-get. Raises `LabError` with what to do when it cannot."""
    names = " ".join(packages)
    if os.geteuid() != 0:
        raise LabError(f"The packages {names} are needed and only root can install them: run `apt-get install {names}` as root.")
    if not shutil.which("apt-get"):
        raise LabError(f"This machine has no apt-get, so the lab cannot install {names}: use a Debian or Ubuntu machine.")
    say(f"installing {names}")
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
    done = _apt(command)
    if done.returncode:  # the package lists may be old or missing
        updated = _apt(["apt-get", "update", "-q"])
        if updated.returncode:
            raise LabError(f"apt-get update failed: {_tail(updated.stderr)} Check this machine's package sources and network.")
        done = _apt(command)
    if done.returncode:
        raise LabError(f"apt-get could not install {names}: {_tail(done.stderr)}")


def require(programs: dict[str, str], say: Say) -> None:
    """Install the package of every program (name → package) that is not on the PATH."""
    missing = sorted({package for program, package in programs.items() if not _which(program)})
    if missing:
        install(missing, say)


def _apt(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    environment = {**_environment(), "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, env=environment, check=False)


def _which(program: str) -> str | None:
    return shutil.which(program, path=_environment()["PATH"])


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"}


def _tail(text: str) -> str:
    return " ".join(text.strip().splitlines()[-3:])[-400:]


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1][-300:] if lines else "It wrote nothing."
