# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Who fetches which blob from whom. Pure Python.

With `seed` the hosts of a site that lack a blob form a line, in the order of the play, behind a host that has it, or
behind the first of them, which fetches it from its source. Each takes it from the one before it while that one still fetches. On
links that carry as much in each direction, a line takes about as long as one download, however many hosts there are;
a tree whose hosts serve two others takes twice as long, since each link then sends everything twice.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from ._store import StoreState, store_state

MODES = ("direct", "seed", "controller", "mirror")


@dataclass(frozen=True)
class Link:
    """A host to ask for a blob; `waits`: whether it is before the asking one in its line, so that waiting for it can make no circle."""

    host: str
    waits: bool


def distribute(stores: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What each host asks of whom.

    `stores` has, in the order of the play, by host: `mode` (one of MODES), `site`, `files` (wanted blobs: `name`, `sha256`, `size` in
    bytes, `url`) and `found` (files of its store: `path`, `size`). The result: `hosts`, by host `offers` (blobs that others may
    ask it for: `sha256`, `size`, `coming`: it lacks it itself yet) and `peers` (by sha256 the hosts to ask before the source, nearest
    first: `host`, `waits`); and `controller`, the blobs that the controller fetches once.
    """
    states = {name: store_state(store["found"], store["files"]) for name, store in stores.items()}
    links: dict[str, dict[str, list[Link]]] = {name: {} for name in stores}
    for site in dict.fromkeys(store["site"] for store in stores.values()):
        hosts = [name for name, store in stores.items() if store["mode"] == "seed" and store["site"] == site]
        for sha256, size in _wanted(hosts, stores).items():
            for name, found in _links(sha256, size, {host: states[host] for host in hosts}).items():
                links[name][sha256] = found
    asked = {(link.host, sha256) for found in links.values() for sha256, some in found.items() for link in some}
    return {
        "hosts": {name: {
            "offers": [{"sha256": sha256, "size": size, "coming": sha256 in states[name].missing}
                       for sha256, size in _wanted(stores, stores).items() if (name, sha256) in asked],
            "peers": {sha256: [{"host": link.host, "waits": link.waits} for link in found] for sha256, found in links[name].items()},
        } for name in stores},
        "controller": _by_controller(stores, states),
    }


def peers(links: Sequence[Mapping[str, Any]], services: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The links as `gguf_file` takes them, of those hosts whose file service runs: `services` has what `blob_share` returned, by host."""
    return [
        {"name": link["host"], "waits": link["waits"], **{key: services[link["host"]][key] for key in ("address", "port", "secret")}}
        for link in links if services.get(link["host"], {}).get("port")
    ]


def _wanted(hosts: Sequence[str] | Mapping[str, Any], stores: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Size of every blob that one of the hosts wants, by sha256."""
    return {file["sha256"]: int(file["size"]) for host in hosts for file in stores[host]["files"]}


def _links(sha256: str, size: int, states: Mapping[str, StoreState]) -> dict[str, list[Link]]:
    """Whom each host that lacks the blob asks; hosts without anybody to ask are left out."""
    lack = [host for host, state in states.items() if sha256 in state.missing]
    have = [host for host, state in states.items() if state.whole.get(sha256) == size]
    lines = [[holder, *lack[start::len(have)]] for start, holder in enumerate(have)] or [lack]
    found = {}
    for line in lines:
        for place, host in enumerate(line):
            links = [Link(name, True) for name in _before(line, place)] if host in lack else []
            others = [*have, *_richest(sha256, host, {name: states[name] for name in lack})] if host in lack else []
            links += [Link(name, False) for name in others if name not in {link.host for link in links}]
            if links:
                found[host] = links
    return found


def _before(line: Sequence[str], place: int) -> list[str]:
    """The hosts 1, 2, 4, 8 ... places before, and the first: few to ask, and no number of neighbours that are gone leaves nobody."""
    steps = [1 << power for power in range(place.bit_length()) if 1 << power <= place]
    return list(dict.fromkeys([line[place - step] for step in steps] + list(line[:1] if place else [])))


def _richest(sha256: str, host: str, states: Mapping[str, StoreState]) -> list[str]:
    """The host with the largest unfinished download, if it has more than this one: nothing of an interrupted run is fetched twice."""
    best = max(states, key=lambda name: states[name].partial.get(sha256, 0))
    return [best] if states[best].partial.get(sha256, 0) > states[host].partial.get(sha256, 0) else []


def _by_controller(stores: Mapping[str, Mapping[str, Any]], states: Mapping[str, StoreState]) -> list[dict[str, Any]]:
    """Each blob once that a host lacks which gets it from the controller."""
    found = {file["sha256"]: dict(file) for name, store in stores.items() if store["mode"] == "controller"
             for file in store["files"] if file["sha256"] in states[name].missing}
    return list(found.values())
