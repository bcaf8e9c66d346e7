# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""What the playbook hands from the plan and the lock to each role. Pure Python."""
from __future__ import annotations

import ipaddress
from typing import Any, Mapping, Sequence
from urllib.parse import quote

from ._errors import FleetError


def model_files(plan: Mapping[str, Any], lock: Mapping[str, Any], host: str, endpoint: str) -> list[dict[str, Any]]:
    """The blobs a host must hold: `{name, sha256, size (bytes), url}`, one a file, in the plan's order: shards, then the projector.

    `plan` and `lock` are as `fleet_plan` and `fleet_lock` return them. FleetError when the plan names a model
    that the lock lacks: they were made from different inputs.
    """
    files: dict[str, dict[str, Any]] = {}
    for model in _models(plan, host):
        entry = lock["models"].get(model["name"])
        if entry is None:
            raise FleetError("The plan names a model that the lock lacks", f"host {host}", model["name"],
                             "Run localai.fleet.plan again.")
        for file in [*entry["files"], *([entry["projector"]] if entry.get("projector") else [])]:
            files.setdefault(file["sha256"], {
                "name": model["name"], "sha256": file["sha256"], "size": file["size"],
                "url": file.get("url") or _hub_url(endpoint, entry, file["path"]),
            })
    return list(files.values())


def addresses(variables: Mapping[str, Mapping[str, Any]], hosts: Sequence[str]) -> dict[str, str]:
    """Address of each host for the others: `ansible_host` where it is an IP address, else that of the default route, else ""."""
    found = {}
    for host in hosts:
        known = variables[host]
        route = known.get("ansible_facts", {}).get("default_ipv4", {}).get("address", "")
        found[host] = next((text for text in (str(known.get("ansible_host", "")), host, route) if _is_address(text)), "")
    return found


def listen_address(host: str, gateways: Sequence[str], addresses: Mapping[str, str]) -> str:
    """Where a server publishes LocalAI: its own address if another host is a gateway, else "" (not at all).

    FleetError when it must publish and its address is not known.
    """
    return _address(host, addresses) if set(gateways) - {host} else ""


def routes(plan: Mapping[str, Any], gateway: str, addresses: Mapping[str, str], port: int) -> list[dict[str, Any]]:
    """What a gateway serves: `{name, model, kind, images, upstreams}` for each model and each of its aliases, by name.

    An upstream is `HOST:PORT`. On the gateway itself an instance is reached by its container's name on the
    internal network; elsewhere by the server's address, the first instance at `port`, each further one at the next.
    FleetError for a server whose address is not known.
    """
    found: dict[str, dict[str, Any]] = {}
    for host in plan["hosts"]:
        for index, instance in enumerate(plan["hosts"][host]["instances"]):
            upstream = f"{instance['name']}:8080" if host == gateway else f"{_bracketed(_address(host, addresses))}:{port + index}"
            for model in instance["models"]:
                for name in (model["name"], *model["aliases"]):
                    route = found.setdefault(name, {
                        "name": name, "model": model["name"], "kind": model["kind"], "images": bool(model.get("projector")), "upstreams": []})
                    route["upstreams"].append(upstream)
    return [found[name] for name in sorted(found)]


def served(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What to ask a gateway for: `{name, kind, aliases, times}` of each model, by name; `times` is how many instances hold it."""
    found: dict[str, dict[str, Any]] = {}
    for model in (model for host in plan["hosts"] for model in _models(plan, host)):
        entry = found.setdefault(model["name"], {"name": model["name"], "kind": model["kind"], "aliases": set(), "times": 0})
        entry["aliases"] |= set(model["aliases"])
        entry["times"] += 1
    return [{**found[name], "aliases": sorted(found[name]["aliases"])} for name in sorted(found)]


def _models(plan: Mapping[str, Any], host: str) -> list[Mapping[str, Any]]:
    return [model for instance in plan["hosts"].get(host, {}).get("instances", []) for model in instance["models"]]


def _hub_url(endpoint: str, entry: Mapping[str, Any], path: str) -> str:
    return f"{endpoint.rstrip('/')}/{entry['repository']}/resolve/{entry['commit']}/{quote(path)}"


def _is_address(text: str) -> bool:
    try:
        return not ipaddress.ip_address(text).is_loopback
    except ValueError:
        return False


def _address(host: str, addresses: Mapping[str, str]) -> str:
    address = addresses.get(host, "")
    if not _is_address(address):
        raise FleetError("The server has no address that a gateway can use", f"host {host}", address or "none",
                         "Set ansible_host to its address, or gather its network facts.")
    return address


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
