"""The instance's own network: internal, so that nothing in the lab reaches the outside."""
from __future__ import annotations

import docker
from docker.errors import APIError, NotFound
from docker.models.networks import Network
from docker.types import IPAMConfig, IPAMPool

from .instance import LABEL, Instance
from .recipe import LabError


def ensure(client: docker.DockerClient, instance: Instance) -> str:
    """The network with the instance's subnet; one with another subnet is made anew when nothing is on it. Returns what was done."""
    found = _find(client, instance.network)
    if found is not None:
        subnet = found.attrs["IPAM"]["Config"][0]["Subnet"]
        if subnet == instance.options.subnet:
            return "is there"
        _remove(found, f"it has the subnet {subnet}, not {instance.options.subnet}")
    pool = IPAMConfig(pool_configs=[IPAMPool(subnet=instance.options.subnet)])
    try:
        client.networks.create(instance.network, driver="bridge", internal=True, ipam=pool, labels={LABEL: instance.name}, check_duplicate=True)
    except APIError as error:
        raise LabError(
            f"The network {instance.network} with the subnet {instance.options.subnet} cannot be made ({error.explanation}): "
            "give another with --subnet, or remove what uses it."
        ) from error
    return "made"


def remove(client: docker.DockerClient, instance: Instance) -> bool:
    """Remove the network; False when there is none. Raises `LabError` naming the containers of others that are on it."""
    found = _find(client, instance.network)
    if found is None:
        return False
    _remove(found, "the instance is being removed")
    return True


def _find(client: docker.DockerClient, name: str) -> Network | None:
    try:
        return client.networks.get(name)
    except NotFound:
        return None


def _remove(network: Network, why: str) -> None:
    network.reload()
    names = ", ".join(sorted(container["Name"] for container in network.attrs["Containers"].values()))
    if names:
        raise LabError(f"The network {network.name} must go ({why}) but {names} is on it: remove that first.")
    network.remove()
