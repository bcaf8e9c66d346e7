"""The lab's servers: containers with systemd and sshd, limits of their own, and the disk of their Docker engine on a volume."""
from __future__ import annotations

import time
from pathlib import Path

import docker
from docker.models.containers import Container

from .containers import Part
from .instance import Host, Instance
from .recipe import LabError
from .recipes import HOSTS

READY_SECONDS = 90
COMPOSE = "/root/lab/docker-compose"
CAPABILITIES = ("SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE")  # SYS_PTRACE: without it no exec into a container that is not root's


def part(host: Host, image: str, public_key: str, compose: Path) -> Part:
    """The container of one server; `public_key` may log in as root. Where Debian has no Compose, the server finds the file `compose`."""
    options: dict[str, object] = {
        "cap_add": list(CAPABILITIES), "security_opt": ["seccomp=unconfined", "apparmor=unconfined"], "cgroupns": "private",
        "tmpfs": {"/run": "", "/run/lock": "", "/tmp": "exec,mode=1777"}, "stop_signal": "SIGRTMIN+3", "mem_limit": host.memory,
    }
    if host.cpus:
        options["nano_cpus"] = int(host.cpus * 1e9)
    files = {"/root/.ssh/authorized_keys": (public_key.encode(), 0o600)}
    if not has_compose(host):
        files[COMPOSE] = (compose.read_bytes(), 0o644)
    return Part(host.name, image, host.address, options=options, files=files, volumes={"/var/lib/docker": "docker"})


def has_compose(host: Host) -> bool:
    """Whether the server's Debian has a package of Compose v2."""
    return "docker-compose" in HOSTS[host.suite].offers


def wait(client: docker.DockerClient, instance: Instance, host: Host, new: bool) -> None:
    """Until systemd says that the server is up. Raises `LabError` when it takes too long, or when a unit of a `new` server failed.

    A server that was used may have failed units: they are what somebody tests.
    """
    container = client.containers.get(instance.container(host.name))
    end = time.monotonic() + READY_SECONDS
    state = "offline"
    while time.monotonic() < end:
        state = _state(container)
        if state == "running" or (state == "degraded" and not new):
            return
        if state == "degraded":
            failed = _run(container, ["systemctl", "list-units", "--failed", "--plain", "--no-legend", "--no-pager"])
            raise LabError(f"The server {host.name} is up but a unit failed ({failed}): see `python -m tests.lab logs {host.name}`.")
        time.sleep(0.2)
    raise LabError(f"The server {host.name} was not up after {READY_SECONDS} s (systemd says {state}): see `python -m tests.lab logs {host.name}`.")


def known_host(client: docker.DockerClient, instance: Instance, host: Host) -> str:
    """The server's line for known_hosts, read inside it, so that the first login is already checked."""
    container = client.containers.get(instance.container(host.name))
    kind, key = _run(container, ["cat", "/etc/ssh/ssh_host_ed25519_key.pub"]).split()[:2]
    return f"{host.address} {kind} {key}\n"


def _state(container: Container) -> str:
    container.reload()
    if container.status != "running":
        tail = container.logs(tail=3).decode(errors="replace").strip()
        raise LabError(f"The server {container.name} stopped at once ({tail or 'no output'}): see `docker logs {container.name}`.")
    return _run(container, ["systemctl", "is-system-running"]) or "offline"


def _run(container: Container, command: list[str]) -> str:
    _code, output = container.exec_run(command)
    return output.decode(errors="replace").strip()
