"""The lab's registry and the images in it, under the names that the product uses."""
from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Mapping

import docker
import yaml
from docker.errors import ImageNotFound

from .containers import Part
from .instance import REGISTRY, ROOT, Instance, write
from .progress import Progress
from .push import Repository
from .recipe import LabError
from .recipes import RECIPES

VERSIONS = ROOT / "roles" / "common" / "vars" / "main.yml"
# The key of an image in the product's versions file → the recipe that stands in for it, the variable that names another image.
STANDINS = {"localai": ("localai", "LAB_LOCALAI_IMAGE"), "llama_cpp": ("llama-cpp", "LAB_LOCALAI_BACKEND_IMAGE"), "nginx": ("nginx", "LAB_NGINX_IMAGE")}

# LocalAI and its backend: both real, or neither.
REAL = ("localai", "llama_cpp")


@dataclass(frozen=True)
class Publication:
    """An image of the engine (`source`) and the name and tag it gets in the registry."""

    source: str
    repository: str
    version: str

    @property
    def name(self) -> str:
        return f"{self.repository}:{self.version}"


def part(instance: Instance, image: str, certificate: tuple[bytes, bytes]) -> Part:
    """The registry's container."""
    files = {"/certs/tls.crt": (certificate[0], 0o644), "/certs/tls.key": (certificate[1], 0o600)}
    return Part("registry", image, instance.address(REGISTRY), files=files, volumes={"/var/lib/registry": "data"})


def sources(client: docker.DockerClient, environment: Mapping[str, str], say: Callable[[str], None], versions: Path = VERSIONS) -> dict[str, str]:
    """`environment`, and where it names no LocalAI, the real one when somebody pulled both of its images into this machine's engine."""
    variables = [STANDINS[key][1] for key in REAL]
    if any(environment.get(name) for name in variables):
        return dict(environment)
    images = yaml.safe_load(versions.read_text())["__common_images"]
    names = [f"{images[key]['name']}:{images[key]['version']}" for key in REAL]
    missing = [name for name in names if not _there(client, name)]
    if len(missing) == 1:
        say(f"LocalAI: the lab's stand-in; the engine has one image of the real one and lacks {missing[0]}")
    if missing:
        return dict(environment)
    say(f"LocalAI: the real one, because the engine has {' and '.join(names)}")
    return {**environment, **dict(zip(variables, names))}


def _there(client: docker.DockerClient, name: str) -> bool:
    try:
        return bool(client.images.get(name))
    except ImageNotFound:
        return False


def replaced(environment: Mapping[str, str]) -> set[str]:
    """Recipes that need no image, because a variable names another."""
    return {recipe for recipe, variable in STANDINS.values() if environment.get(variable)}


def image(key: str, environment: Mapping[str, str]) -> str:
    """The image of this machine's engine that stands for one of the product's: the one that a variable names, or the lab's own."""
    recipe, variable = STANDINS[key]
    return environment.get(variable) or RECIPES[recipe].tag


def publications(environment: Mapping[str, str], versions: Path = VERSIONS) -> list[Publication]:
    """What the registry must hold: every image of the product's versions file, from the lab's own or the one that a variable names."""
    _refuse_half(environment)
    images = yaml.safe_load(versions.read_text())["__common_images"]
    made = []
    for key, named in sorted(images.items()):
        if key not in STANDINS:
            raise LabError(f"{versions} names the image {key}, which the lab does not have: add it to STANDINS in tests/lab/registry.py.")
        made.append(Publication(image(key, environment), named["name"].partition("/")[2], str(named["version"])))
    return made


def _refuse_half(environment: Mapping[str, str]) -> None:
    """A LocalAI and a backend of two kinds do not speak with each other."""
    given = [name for name in ("LAB_LOCALAI_IMAGE", "LAB_LOCALAI_BACKEND_IMAGE") if environment.get(name)]
    if len(given) == 1:
        raise LabError(f"Only {given[0]} is set: name both images, LAB_LOCALAI_IMAGE and LAB_LOCALAI_BACKEND_IMAGE, or none.")


def publish(client: docker.DockerClient, instance: Instance, wanted: list[Publication], progress: Progress) -> None:
    """Give the registry what it lacks. published.json holds, for each name, the image's id and the digest it got."""
    ledger = instance.root / "published.json"
    known = json.loads(ledger.read_text()) if ledger.exists() else {}

    def one(publication: Publication) -> tuple[str, list[str]]:
        found = _image(client, publication)
        repository = Repository(instance.registry, publication.repository, instance.ca)
        there = [found.id, repository.digest(publication.version)]
        if known.get(publication.name) == there:
            return publication.name, there
        progress.say(f"registry: {publication.source} as {instance.registry}/{publication.name}")
        return publication.name, [found.id, repository.push(found, publication.version)]

    with ThreadPoolExecutor(2) as pool:
        made = dict(pool.map(one, wanted))
    if any(name in known and known[name][1] != digest for name, (image_id, digest) in made.items()):
        progress.say("registry: a version has other bytes now, so the lab's lock is made again")
        (instance.inventory.parent / "fleet.lock.yml").unlink(missing_ok=True)
    write(ledger, json.dumps(made, indent=2, sort_keys=True) + "\n")


def _image(client: docker.DockerClient, one: Publication) -> docker.models.images.Image:
    try:
        return client.images.get(one.source)
    except ImageNotFound as error:
        raise LabError(f"There is no image {one.source} in this machine's engine to publish as {one.repository}: build or pull it first.") from error
