"""Brings an instance of the lab up, takes it down, and tells how it is."""
from __future__ import annotations

import fcntl
import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator

import docker
import requests

from . import containers, engine, hosts, inventory, network, registry, tls
from .compose import ensure_compose
from .images import Builder
from .instance import CACHE, HUB, STATE, Instance, known, write
from .model import ensure_model
from .progress import Progress
from .recipe import LabError
from .recipes import HOSTS, RECIPES

ENGINE_LOG = STATE / "dockerd.log"
ANSWER_SECONDS = 30


class Lab:
    """One instance on this machine's engine."""

    def __init__(self, instance: Instance, progress: Progress) -> None:
        self.instance = instance
        self.progress = progress

    def up(self, fresh: bool = False) -> None:
        """Make and start what is missing; with `fresh` the servers are new ones. Raises `LabError`."""
        with self._lock():
            with self.progress.phase("engine"):
                client = engine.ensure_engine(ENGINE_LOG, self.progress.say)
                engine.require({"ssh": "openssh-client"}, self.progress.say)
            self.instance.save()
            with self.progress.phase("images and model"), ThreadPoolExecutor(1) as pool:
                model = pool.submit(ensure_model, CACHE, self.instance.root / "hub")
                sources = registry.sources(client, os.environ, self.progress.say)
                replaced = registry.replaced(sources)
                tags = Builder(client, STATE, self.progress).ensure(recipe for name, recipe in RECIPES.items() if name not in replaced)
                model.result()
                compose = ensure_compose(CACHE)
            with self.progress.phase("network, registry, hub"):
                self._services(client, tags)
            with self.progress.phase("servers"):
                self._servers(client, tags, compose, fresh)
            with self.progress.phase("images into the registry"):
                registry.publish(client, self.instance, registry.publications(sources), self.progress)
            inventory.ensure(self.instance)

    def _services(self, client: docker.DockerClient, tags: dict[str, str]) -> None:
        instance, keys = self.instance, self.instance.root / "tls"
        tls.ensure_ca(instance.ca, keys / "ca.key")
        self._tell("network", network.ensure(client, instance))
        registry_certificate = tls.ensure_certificate(keys, "registry", instance.registry.partition(":")[0], instance.ca, keys / "ca.key")
        self._tell("registry", containers.ensure(client, instance, registry.part(instance, tags["registry"], registry_certificate)))
        hub_certificate = tls.ensure_certificate(keys, "hub", instance.address(HUB), instance.ca, keys / "ca.key")
        self._tell("hub", containers.ensure(client, instance, hub_part(instance, tags["hub"], hub_certificate)))
        self._answers("registry", f"https://{instance.registry}/v2/")
        self._answers("hub", f"{instance.hub}/__health__")

    def _servers(self, client: docker.DockerClient, tags: dict[str, str], compose: Path, fresh: bool) -> None:
        wanted = list(self.instance.hosts())
        self._remove_surplus(client, {host.name for host in wanted})
        key = tls.ensure_ssh_key(self.instance.ssh_key)
        with ThreadPoolExecutor(4) as pool:
            done = list(pool.map(lambda host: self._server(client, hosts.part(host, tags[HOSTS[host.suite].name], key, compose), fresh), wanted))
            list(pool.map(lambda host, what: hosts.wait(client, self.instance, host, new=what.startswith("made")), wanted, done))
            lines = list(pool.map(lambda host: hosts.known_host(client, self.instance, host), wanted))
        write(self.instance.known_hosts, "".join(lines))
        if set(done) != {"runs"}:
            self.instance.forget_connections()

    def _server(self, client: docker.DockerClient, part: containers.Part, fresh: bool) -> str:
        what = containers.ensure(client, self.instance, part, fresh)
        self._tell(part.name, what)
        return what

    def _remove_surplus(self, client: docker.DockerClient, wanted: set[str]) -> None:
        for container in containers.of_instance(client, self.instance.name):
            part = container.labels[containers.PART]
            if part.startswith("lab") and part not in wanted:
                containers.remove(client, container)
                self._tell(part, "removed")

    def _answers(self, part: str, url: str) -> None:
        end = time.monotonic() + ANSWER_SECONDS
        while True:
            try:
                requests.get(url, verify=str(self.instance.ca), timeout=5).raise_for_status()
                return
            except requests.RequestException as error:
                if time.monotonic() > end:
                    raise LabError(f"The lab's {part} does not answer at {url} ({error}): see `python -m tests.lab logs {part}`.") from error
            time.sleep(0.2)

    def down(self, images: bool = False) -> None:
        """Remove the instance: containers, volumes, network and files; with `images` the lab's images too."""
        with self._lock():
            client = engine.connect()
            if client is None:
                raise LabError("No Docker engine answers, so nothing was removed: start it and run `down` again.")
            for container in containers.of_instance(client, self.instance.name):
                containers.remove(client, container)
                self._tell(container.labels[containers.PART], "removed")
            if network.remove(client, self.instance):
                self._tell("network", "removed")
            self.instance.forget()
            if images:
                others = [name for name in known() if name != self.instance.name]
                if others:
                    raise LabError(f"The instance is gone; the images stay because {', '.join(others)} uses them: take that down first.")
                gone = Builder(client, STATE, self.progress).remove(RECIPES.values())
                self.progress.say(f"{len(gone)} images removed")

    def status(self) -> list[tuple[str, str, str, str, str]]:
        """Rows: part, state, address, limits, image; empty when nothing of the instance exists."""
        client = engine.connect()
        if client is None:
            raise LabError("No Docker engine answers on this machine: `python -m tests.lab up` starts one.")
        return [_row(container, self.instance.network) for container in containers.of_instance(client, self.instance.name)]

    def logs(self, part: str, lines: int) -> str:
        """The last lines of a part's log: systemd's journal for a server, the output of the process for another."""
        client = engine.connect()
        container = containers.find(client, self.instance.container(part)) if client else None
        if container is None:
            raise LabError(f"The instance {self.instance.name} has no {part}: `python -m tests.lab status --instance {self.instance.name}` lists its parts.")
        if part.startswith("lab") and container.status == "running":
            return container.exec_run(["journalctl", "--no-pager", "-n", str(lines)]).output.decode(errors="replace")
        return container.logs(tail=lines).decode(errors="replace")

    def _tell(self, part: str, what: str) -> None:
        if what not in ("runs", "is there"):
            self.progress.say(f"{part}: {what}")

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """One command at a time for an instance."""
        path: Path = STATE / f".{self.instance.name}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.progress.say(f"another command works on {self.instance.name}: waiting for it")
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def hub_part(instance: Instance, image: str, certificate: tuple[bytes, bytes]) -> containers.Part:
    """The container of the Hub; it serves the repositories in the instance's folder `hub`."""
    files = {"/certs/tls.crt": (certificate[0], 0o644), "/certs/tls.key": (certificate[1], 0o600)}
    binds = {str(instance.root / "hub"): {"bind": "/hub", "mode": "ro"}}
    return containers.Part("hub", image, instance.address(HUB), options={"binds": binds}, files=files)


def _row(container: docker.models.containers.Container, network_name: str) -> tuple[str, str, str, str, str]:
    limits = container.attrs["HostConfig"]
    shown = [f"{limits['Memory'] / (1 << 30):.1f} GiB"] if limits["Memory"] else []
    shown += [f"{limits['NanoCpus'] / 1e9:g} cores"] if limits["NanoCpus"] else []
    address = container.attrs["NetworkSettings"]["Networks"].get(network_name, {}).get("IPAddress", "")
    return container.labels[containers.PART], container.status, address, ", ".join(shown), container.attrs["Config"]["Image"]
