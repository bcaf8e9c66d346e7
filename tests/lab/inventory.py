"""The inventory that leads Ansible to an instance: its servers, and the variables of inventory/group_vars.yml."""
from __future__ import annotations

import string

import yaml

from .hosts import COMPOSE, has_compose
from .instance import Instance, write
from .recipe import HERE

TEMPLATE = HERE / "inventory" / "group_vars.yml"
HEADER = "---\n# Written by `python -m tests.lab up`; the next one overwrites it.\n"


def ensure(instance: Instance) -> None:
    """Write hosts.yml and group_vars/localai.yml where they differ from what the instance is."""
    write(instance.inventory, HEADER + yaml.safe_dump(hosts(instance), sort_keys=False))
    write(instance.inventory.parent / "group_vars" / "localai.yml", group_vars(instance))


def hosts(instance: Instance) -> dict[str, object]:
    """Every server is a localai_server; the first is the gateway too. Compose comes from the lab where Debian has none."""
    servers = {
        host.name: {"ansible_host": host.address, **({} if has_compose(host) else {"docker_engine_compose_url": f"file://{COMPOSE}"})}
        for host in instance.hosts()
    }
    return {
        "localai": {
            "children": {
                "localai_server": {"hosts": servers},
                "localai_gateway": {"hosts": {next(iter(servers)): None}},
            },
        },
    }


def group_vars(instance: Instance) -> str:
    """The variables of the group localai."""
    values = {
        "instance": instance.name, "registry": instance.registry, "hub": instance.hub, "ca": instance.ca, "ssh_key": instance.ssh_key,
        "known_hosts": instance.known_hosts, "connections": instance.connections,
    }
    return string.Template(TEMPLATE.read_text()).substitute(values)
