"""One container of the lab: described whole, made when it is missing or differs, started when it stands still."""
from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass, field
from typing import Mapping

import docker
from docker.errors import APIError, ImageNotFound, NotFound
from docker.models.containers import Container
from docker.types import EndpointConfig

from .instance import LABEL, Instance
from .recipe import PREFIX, LabError

DESCRIPTION = f"{PREFIX}.description"
PART = f"{PREFIX}.part"
API_VERSION = "1.41"


@dataclass(frozen=True)
class Part:
    """What a container is to be. `options` are those of docker's `containers.create`; `files`: path → (bytes, mode), put in before it starts.

    `volumes`: path in the container → suffix of a named volume, which lives and dies with the container.
    """

    name: str
    image: str
    address: str
    options: Mapping[str, object] = field(default_factory=dict)
    files: Mapping[str, tuple[bytes, int]] = field(default_factory=dict)
    volumes: Mapping[str, str] = field(default_factory=dict)

    def description(self, subnet: str) -> str:
        """A hash of all that makes the container what it is."""
        files = {path: [hashlib.sha256(content).hexdigest(), mode] for path, (content, mode) in self.files.items()}
        parts = [self.image, self.address, subnet, dict(self.options), files, dict(self.volumes)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def ensure(client: docker.DockerClient, instance: Instance, part: Part, fresh: bool = False) -> str:
    """Make the container be what `part` says, and run. Returns what was done: made, made again, started or runs."""
    found = find(client, instance.container(part.name))
    if found is not None and not fresh and found.labels.get(DESCRIPTION) == part.description(instance.options.subnet):
        if found.status == "running":
            return "runs"
        _start(found)
        return "started"
    if found is not None:
        remove(client, found)
    _start(_make(client, instance, part))
    return "made" if found is None else "made again"


def _start(container: Container) -> None:
    try:
        container.start()
    except APIError as error:
        raise LabError(f"The container {container.name} does not start ({error.explanation}): cure that and run `up` again.") from error


def find(client: docker.DockerClient, name: str) -> Container | None:
    try:
        return client.containers.get(name)
    except NotFound:
        return None


def of_instance(client: docker.DockerClient, name: str) -> list[Container]:
    """Every container of the instance `name`, running or not."""
    return sorted(client.containers.list(all=True, filters={"label": f"{LABEL}={name}"}), key=lambda container: container.name)


def remove(client: docker.DockerClient, container: Container) -> None:
    """Remove a container with its volumes, named and not."""
    volumes = [mount["Name"] for mount in container.attrs["Mounts"] if mount["Type"] == "volume"]
    container.remove(force=True, v=True)
    for name in volumes:
        try:
            client.volumes.get(name).remove()
        except NotFound:
            pass


def _make(client: docker.DockerClient, instance: Instance, part: Part) -> Container:
    name = instance.container(part.name)
    labels = {LABEL: instance.name, PART: part.name, DESCRIPTION: part.description(instance.options.subnet)}
    mounts = {f"{name}-{suffix}": {"bind": path, "mode": "rw"} for path, suffix in part.volumes.items()}
    for volume in mounts:
        client.volumes.create(volume, labels={LABEL: instance.name})
    options = dict(part.options)
    mounts.update(options.pop("binds", {}))  # type: ignore[call-overload]
    endpoint = EndpointConfig(API_VERSION, ipv4_address=part.address)
    try:
        container = client.containers.create(
            part.image, name=name, hostname=part.name, labels=labels, volumes=mounts, network=instance.network,
            networking_config={instance.network: endpoint}, **options,
        )
        if part.files:
            container.put_archive("/", _archive(part.files))
    except ImageNotFound as error:
        raise LabError(f"The image {part.image} of {part.name} is gone from the engine: run `up` again to make it.") from error
    except APIError as error:
        raise LabError(f"The engine refused the container {name} ({error.explanation}): see `docker logs` and dockerd's log.") from error
    return container


def _archive(files: Mapping[str, tuple[bytes, int]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path in sorted({path.rsplit("/", 1)[0] for path in files}):
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o700
            tar.addfile(entry)
        for path, (content, mode) in files.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()
