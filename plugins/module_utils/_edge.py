# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""What the edge lets through: routes by kind of model, who may use which, and from where it is answered. Pure Python."""
from __future__ import annotations

import hashlib
import ipaddress
import re
from typing import Any, Mapping, Sequence

from ._errors import FleetError

# A route is open to the kinds that were seen to answer it. A chat model asked for embeddings crashes LocalAI's engine.
ROUTES = {
    "/v1/chat/completions": ("chat",),
    "/v1/completions": ("chat", "completion"),
    "/v1/embeddings": ("embedding",),
    "/v1/messages": ("chat",),
    "/v1/rerank": ("rerank",),
    "/v1/responses": ("chat",),
    "/v1/tokenize": ("chat", "completion"),
}
KINDS = ("chat", "completion", "embedding", "rerank")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_CONSUMER = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_UPSTREAM = re.compile(r"(?P<host>\[[0-9A-Fa-f:]+\]|[A-Za-z0-9][A-Za-z0-9._-]*):(?P<port>[1-9][0-9]{0,4})", re.ASCII)
_DOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*", re.IGNORECASE | re.ASCII)


def tables(routes: Sequence[Mapping[str, Any]], consumers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the edge decides by.

    `routes`: `{name, model, kind, images, upstreams: ["HOST:PORT"]}` for each served name; `images` tells whether it reads images, no by default.
    `consumers`: `{name, models: [names, empty for all], sha256 of the key}`; one without sha256 is checked and left out.

    Returns `routes` (path → kinds), `models` (served name → `{kind, images, upstream}`), `consumers` (sha256 → `{name, models}`,
    None for all), and `upstreams` (`{name, servers: [{address, resolve}]}`). FleetError for input that cannot work.
    """
    models, upstreams = _models(routes)
    return {
        "routes": {path: list(kinds) for path, kinds in ROUTES.items()},
        "models": models,
        "consumers": _consumers(consumers, routes),
        "upstreams": upstreams,
    }


def certificate_names(domain: str, extra: Sequence[str]) -> list[dict[str, str]]:
    """Names the edge answers to: `{type: "DNS" or "IP", name, san: "TYPE:NAME"}`, each once, the domain first.

    FleetError for what is no name.
    """
    found: dict[str, dict[str, str]] = {}
    for option, given in [("proxy_domain", domain), *(("proxy_extra_names", name) for name in extra)]:
        kind = _name_type(given, option)
        name = given.lower() if kind == "DNS" else str(ipaddress.ip_address(given))
        found.setdefault(name, {"type": kind, "name": name, "san": f"{kind}:{name}"})
    return list(found.values())


def covers(alternatives: Sequence[str], names: Sequence[Mapping[str, str]]) -> bool:
    """Whether a certificate's alternative names (`DNS:*.example.com`, `IP:10.0.0.1`) cover all of `names`."""
    given = {alternative.lower().replace("ip address:", "ip:") for alternative in alternatives}
    return all(name["san"].lower() in given or _wildcard(name) in given for name in names)


def _wildcard(name: Mapping[str, str]) -> str:
    return "dns:*." + name["name"].partition(".")[2] if name["type"] == "DNS" else ""


def _name_type(name: str, option: str) -> str:
    try:
        ipaddress.ip_address(name)
        return "IP"
    except ValueError:
        pass
    if not _DOMAIN.fullmatch(name) or name.replace(".", "").isdigit():
        raise FleetError("The name is neither a DNS name nor an IP address", option, repr(name), "An example is ai.example.com.")
    return "DNS"


def _models(routes: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    models: dict[str, Any] = {}
    upstreams: dict[str, dict[str, Any]] = {}
    for route in routes:
        _check_route(route, models)
        group = _upstream(route["upstreams"], route["name"])
        upstreams[group["name"]] = group
        models[route["name"]] = {"kind": route["kind"], "images": bool(route.get("images")), "upstream": group["name"]}
    return dict(sorted(models.items())), [upstreams[name] for name in sorted(upstreams)]


def _check_route(route: Mapping[str, Any], models: Mapping[str, Any]) -> None:
    name, kind = route["name"], route["kind"]
    if not _NAME.fullmatch(name):
        raise FleetError("The served name is not usable", "proxy_routes", repr(name),
                         "Use up to 63 letters, digits, dots, underscores and hyphens, a letter or digit first.")
    if name in models:
        raise FleetError("A served name has two routes", "proxy_routes", name, "Give each name once.")
    if kind not in KINDS:
        raise FleetError("The kind of a model is unknown", f"proxy_routes, {name}", repr(kind), f"Known are {', '.join(KINDS)}.")
    if not route["upstreams"]:
        raise FleetError("A served name has no instance that answers", f"proxy_routes, {name}", do="Give it an upstream.")


def _upstream(addresses: Sequence[str], name: str) -> dict[str, Any]:
    """One group of instances. Its name comes from its members, so an unchanged group keeps its state over a reload."""
    unique = sorted(set(addresses))
    digest = hashlib.sha256(" ".join(unique).encode()).hexdigest()[:12]
    return {"name": f"edge_{digest}", "servers": [_server(address, name) for address in unique]}


def _server(address: str, name: str) -> dict[str, Any]:
    found = _UPSTREAM.fullmatch(address)
    if not found or int(found["port"]) > 65535:
        raise FleetError("The upstream is not HOST:PORT", f"proxy_routes, {name}", repr(address), "An example is 10.0.0.7:8080.")
    try:
        ipaddress.ip_address(found["host"].strip("[]"))
    except ValueError:
        return {"address": address, "resolve": True}
    return {"address": address, "resolve": False}


def _consumers(consumers: Sequence[Mapping[str, Any]], routes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    names: set[str] = set()
    for consumer in consumers:
        name, models = consumer["name"], consumer.get("models") or []
        _check_consumer(name, names)
        names.add(name)
        allowed = _allowed(name, models, routes)
        digest = consumer.get("sha256")
        if digest in found:
            raise FleetError("Two consumers have the same key", "proxy_consumers", f"{found[digest]['name']} and {name}",
                             "Give each a key of its own.")
        if digest:
            found[digest] = {"name": name, "models": allowed}
    return dict(sorted(found.items()))


def _check_consumer(name: str, names: set[str]) -> None:
    if not _CONSUMER.fullmatch(name):
        raise FleetError("The consumer's name is not usable", "proxy_consumers", repr(name),
                         "Use up to 63 of a-z, 0-9, dot, underscore and hyphen, a letter or digit first.")
    if name in names:
        raise FleetError("A consumer is named twice", "proxy_consumers", name, "Give each a name of its own.")


def _allowed(name: str, models: Sequence[str], routes: Sequence[Mapping[str, Any]]) -> list[str] | None:
    """Served names a consumer may use, None for all. A model's own name stands for its aliases too; an alias for itself."""
    if not models:
        return None
    served = {route["name"] for route in routes}
    unknown = sorted(set(models) - served)
    if unknown:
        raise FleetError("A consumer may use a model that is not served", f"proxy_consumers, {name}", ", ".join(unknown),
                         f"Served are {', '.join(sorted(served)) or 'none'}.")
    return sorted(route["name"] for route in routes if {route["name"], route.get("model", route["name"])} & set(models))
