"""The lab's registry and the images in it, under the names that the product uses."""
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Mapping

import docker
import requests
import yaml
from docker.errors import APIError, ImageNotFound

from .containers import Part, find
from .instance import REGISTRY, ROOT, Instance
from .progress import Progress
from .recipe import LabError

VERSIONS = ROOT / "roles" / "common" / "vars" / "main.yml"
# The key of an image in the product's versions file → the recipe that stands in for it, the variable that names another image.
STANDINS = {"localai": ("localai", "LAB_LOCALAI_IMAGE"), "llama_cpp": ("llama-cpp", "LAB_LOCALAI_BACKEND_IMAGE"), "nginx": ("nginx", "LAB_NGINX_IMAGE")}
ACCEPT = "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json"
PORT = 5000
SECONDS = 20  # for one question to the registry


@dataclass(frozen=True)
class Publication:
    """An image of the engine (`source`) and the name and tag it gets in the registry."""

    source: str
    repository: str
    version: str


def part(instance: Instance, image: str, certificate: tuple[bytes, bytes]) -> Part:
    """The registry's container."""
    files = {"/certs/tls.crt": (certificate[0], 0o644), "/certs/tls.key": (certificate[1], 0o600)}
    return Part("registry", image, instance.address(REGISTRY), files=files, volumes={"/var/lib/registry": "data"}, loopback_port=PORT)


def replaced(environment: Mapping[str, str]) -> set[str]:
    """Recipes that need no image, because a variable names another."""
    return {recipe for recipe, variable in STANDINS.values() if environment.get(variable)}


def publications(tags: Mapping[str, str], environment: Mapping[str, str], versions: Path = VERSIONS) -> list[Publication]:
    """What the registry must hold: every image of the product's versions file, from the lab's own or the one that a variable names."""
    images = yaml.safe_load(versions.read_text())["__common_images"]
    made = []
    for key, image in sorted(images.items()):
        if key not in STANDINS:
            raise LabError(f"{versions} names the image {key}, which the lab does not have: add it to STANDINS in tests/lab/registry.py.")
        recipe, variable = STANDINS[key]
        source = environment.get(variable) or tags[recipe]
        made.append(Publication(source, image["name"].partition("/")[2], str(image["version"])))
    return made


def publish(client: docker.DockerClient, instance: Instance, wanted: list[Publication], progress: Progress) -> None:
    """Push what the registry lacks. The engine reaches it at a loopback port, which needs no authority's certificate."""
    for one in wanted:
        try:
            image = client.images.get(one.source)
        except ImageNotFound as error:
            raise LabError(f"There is no image {one.source} in this machine's engine to publish as {one.repository}: build or pull it first.") from error
        if image.id in held(instance, one.repository, one.version):
            continue
        progress.say(f"registry: {one.source} as {instance.registry}/{one.repository}:{one.version}")
        _push(client, image, f"{_loopback(client, instance)}/{one.repository}", one.version)


def held(instance: Instance, repository: str, version: str) -> set[str]:
    """Digests of the manifest and of the image configuration that a tag has in the registry; empty without the tag."""
    url = f"https://{instance.registry}/v2/{repository}/manifests/{version}"
    try:
        answer = requests.get(url, headers={"Accept": ACCEPT}, verify=str(instance.ca), timeout=SECONDS)
    except requests.RequestException as error:
        raise LabError(f"The lab's registry does not answer at {instance.registry} ({error}): see `python -m tests.lab logs registry`.") from error
    if answer.status_code == 404:
        return set()
    if not answer.ok:
        raise LabError(f"The lab's registry answered {answer.status_code} for {repository}:{version}: see `python -m tests.lab logs registry`.")
    return {answer.headers["Docker-Content-Digest"], str(answer.json().get("config", {}).get("digest", ""))}


def _push(client: docker.DockerClient, image: docker.models.images.Image, repository: str, version: str) -> None:
    image.tag(repository, version)
    try:
        for line in client.images.push(repository, version, stream=True, decode=True):
            if "error" in line:
                raise LabError(f"The push of {repository}:{version} failed ({line['error']}): see `python -m tests.lab logs registry`.")
    except APIError as error:
        raise LabError(f"The push of {repository}:{version} failed ({error.explanation}): see `python -m tests.lab logs registry`.") from error
    finally:
        client.images.remove(f"{repository}:{version}", noprune=True)


def _loopback(client: docker.DockerClient, instance: Instance) -> str:
    container = find(client, instance.container("registry"))
    bound = container.attrs["NetworkSettings"]["Ports"].get(f"{PORT}/tcp") if container else None
    if not bound:
        raise LabError("The registry's container has no loopback port: run `up` again, it is made anew then.")
    return f"127.0.0.1:{bound[0]['HostPort']}"
