# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Resolves an image's tag to its digest at a container registry, with the standard library alone.

Protocol: the OCI distribution specification, its token authentication as Docker's registry documents it.
"""
from __future__ import annotations

import base64
import hashlib
import json
import re
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any, Mapping
from urllib.parse import urlencode, urlsplit

from . import _http
from ._errors import FleetError

MULTI = "multi"
_INDEX_TYPES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_MANIFEST_TYPES = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
_MAX_BYTES = 4 << 20
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_PATH = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*")
_HOST = re.compile(r"[A-Za-z0-9.-]+(?::\d+)?|\[[0-9A-Fa-f:]+\](?::\d+)?")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Image:
    """An image by its full name (quay.io/a/b) and exact version (a tag)."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"


@dataclass(frozen=True)
class Registry:
    """Where images are asked for.

    `address` ("" = the one in the image's name) is `host[:port][/prefix]`; with `http://` in front it is asked without TLS.
    `ca_path` is a PEM file trusted besides the system's; `timeout` is in seconds for each request.
    """

    address: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    ca_path: str | None = None
    timeout: float = 30.0


@dataclass(frozen=True)
class Pin:
    """What a tag means today. `digest` is what `docker pull name@digest` takes; `platform` os/arch or "multi"."""

    digest: str
    platform: str


def resolve(image: Image, registry: Registry = Registry(), opener: Any = None) -> Pin:
    """Digest and platform of an image's tag.

    Of a multi-platform tag the digest is the index's. FleetError for a version that is not exact (latest), and, each in
    its own words, for a registry that is unreachable, not trusted, refuses, or has no such image or tag.
    """
    _check_version(image)
    client = _Client(image, registry, opener or _http.build_opener(registry.ca_path))
    body, kind = client.get(f"manifests/{image.version}", ", ".join((*_INDEX_TYPES, *_MANIFEST_TYPES)))
    manifest = client.parse(body)
    kind = kind if kind in (*_INDEX_TYPES, *_MANIFEST_TYPES) else str(manifest.get("mediaType"))
    if kind in _INDEX_TYPES:
        platform = _index_platform(manifest)
    elif kind in _MANIFEST_TYPES:
        platform = client.config_platform(manifest)
    else:
        raise FleetError("The registry answered a manifest of an unknown type", client.where, kind,
                         "Push the image again with a current engine.")
    return Pin("sha256:" + hashlib.sha256(body).hexdigest(), platform)


def locate(image: Image, address: str = "") -> tuple[str, str]:
    """Base URL of the registry's API and the repository's path there, as an engine would find them.

    A name without a host is Docker Hub's; a one-word name there is below library/. `address` replaces the host.
    """
    host, path = _split_name(image.name)
    if address:
        scheme, place = split_address(address)
        mirror, _slash, prefix = place.partition("/")
        return f"{scheme}://{mirror}", f"{prefix}/{path}" if prefix else path
    return ("https://registry-1.docker.io" if host == "docker.io" else f"https://{host}"), path


def split_address(address: str) -> tuple[str, str]:
    """Scheme and `host[:port][/prefix]` of a registry's address; https when none is in front. FleetError for another form."""
    scheme, _sep, rest = address.rpartition("://")
    place = rest.strip("/")
    if scheme not in ("", "http", "https") or not _HOST.fullmatch(place.partition("/")[0]):
        raise FleetError("The registry address is not usable", "registry", address.rpartition("@")[2],
                         "Give host:port, with http:// in front if it has no TLS.")
    return scheme or "https", place


def _split_name(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        host, path = first, rest
    else:
        host, path = "docker.io", name
    if host in ("docker.io", "index.docker.io"):
        host, path = "docker.io", path if "/" in path else f"library/{path}"
    if not _HOST.fullmatch(host) or not _PATH.fullmatch(path):
        raise FleetError("The image name is not usable", "images", name, "An example is quay.io/go-skynet/local-ai, without tag and digest.")
    return host, path


def _check_version(image: Image) -> None:
    if not image.version or image.version == "latest" or not _TAG.fullmatch(image.version):
        raise FleetError("An image needs an exact version", f"images, {image.name}", image.version or "none",
                         "Name a release's tag; latest means other bytes tomorrow.")


def _index_platform(index: Mapping[str, Any]) -> str:
    """The one platform of an index, or "multi". Attestations carry the platform unknown/unknown."""
    names = set()
    for entry in index.get("manifests") or []:
        platform = entry.get("platform") or {}
        name = f"{platform.get('os')}/{platform.get('architecture')}"
        if "unknown" not in name and "None" not in name:
            names.add(name)
    return names.pop() if len(names) == 1 else MULTI


class _Client:
    """Requests for one repository of one registry; keeps the credentials it was told to send."""

    def __init__(self, image: Image, registry: Registry, opener: Any) -> None:
        self.base, self.path = locate(image, registry.address)
        self.registry, self.opener = registry, opener
        self.where = f"{image} at {urlsplit(self.base).netloc}"
        self.authorization: str | None = None

    def get(self, what: str, accept: str) -> tuple[bytes, str]:
        """Body and content type of `what` of the repository; answers one challenge for credentials."""
        url = f"{self.base}/v2/{self.path}/{what}"
        try:
            return self._open(url, accept)
        except urllib.error.HTTPError as error:
            if error.code != 401 or self.authorization:
                raise self._refusal(error) from error
            self.authorization = self._answer(error.headers.get_all("WWW-Authenticate") or [])
        try:
            return self._open(url, accept)
        except urllib.error.HTTPError as error:
            raise self._refusal(error) from error

    def parse(self, body: bytes) -> dict[str, Any]:
        try:
            parsed = json.loads(body)
        except ValueError as error:
            raise self._nonsense(body) from error
        if not isinstance(parsed, dict):
            raise self._nonsense(body)
        return parsed

    def config_platform(self, manifest: Mapping[str, Any]) -> str:
        """Platform of a single manifest, read from its configuration blob, which must have the digest it is named by."""
        digest = str((manifest.get("config") or {}).get("digest"))
        if not _DIGEST.fullmatch(digest):
            raise FleetError("The image's manifest names no configuration", self.where, digest, "Push the image again.")
        body, _kind = self.get(f"blobs/{digest}", "*/*")
        if "sha256:" + hashlib.sha256(body).hexdigest() != digest:
            raise FleetError("The image's configuration does not have the digest it is named by", self.where, digest,
                             "Distrust this registry, or push the image again.")
        config = self.parse(body)
        return f"{config.get('os')}/{config.get('architecture')}"

    def _open(self, url: str, accept: str, authorization: str | None = None) -> tuple[bytes, str]:
        request = urllib.request.Request(url, headers={"Accept": accept})
        credentials = authorization or self.authorization
        if credentials:
            request.add_unredirected_header("Authorization", credentials)
        try:
            with self.opener.open(request, timeout=self.registry.timeout) as answer:
                body = answer.read(_MAX_BYTES + 1)
                kind = answer.headers.get("Content-Type", "").split(";")[0].strip()
        except urllib.error.HTTPError:
            raise
        except _http.FAILURES as error:
            raise self._unreachable(error, url) from error
        if len(body) > _MAX_BYTES:
            raise FleetError("The registry answered too much", self.where, f"more than {_MAX_BYTES} bytes", "Check the registry.")
        return body, kind

    def _answer(self, challenges: list[str]) -> str:
        """The Authorization header that the registry's challenge asks for."""
        basic = self._basic()
        for challenge in challenges:
            scheme, _space, rest = challenge.partition(" ")
            if scheme.lower() == "bearer":
                return self._token(dict(re.findall(r'(\w+)="([^"]*)"', rest)), basic)
            if scheme.lower() == "basic" and basic:
                return basic
        raise FleetError("The registry asks for credentials", self.where, "none" if not basic else "credentials it has no use for",
                         "Set the registry's user name and password.")

    def _basic(self) -> str | None:
        if not self.registry.username:
            return None
        pair = f"{self.registry.username}:{self.registry.password}".encode()
        return "Basic " + base64.b64encode(pair).decode()

    def _token(self, challenge: Mapping[str, str], basic: str | None) -> str:
        realm = challenge.get("realm", "")
        allowed = ("https", urlsplit(self.base).scheme)
        if urlsplit(realm).scheme not in allowed:
            raise FleetError("The registry sends to a token server without TLS", self.where, _http.bare_url(realm), "Check the registry.")
        query = {"service": challenge.get("service", ""), "scope": challenge.get("scope") or f"repository:{self.path}:pull"}
        url = f"{realm}{'&' if '?' in realm else '?'}{urlencode({key: text for key, text in query.items() if text})}"
        try:
            body, _kind = self._open(url, "application/json", basic)
        except urllib.error.HTTPError as error:
            raise self._refusal(error) from error
        answer = self.parse(body)
        token = answer.get("token") or answer.get("access_token")
        if not token:
            raise FleetError("The registry's token server gave no token", self.where, do="Check the registry's user name and password.")
        return f"Bearer {token}"

    def _refusal(self, error: urllib.error.HTTPError) -> FleetError:
        codes = self._codes(error)
        if error.code in (401, 403):
            who = f"as {self.registry.username}" if self.registry.username else "without credentials"
            return FleetError("The registry refuses to show the image", self.where, f"HTTP {error.code} {who}",
                              "Check the image's name, the registry's user name and password.")
        if error.code == 404:
            what = "image" if "NAME_UNKNOWN" in codes else "tag"
            return FleetError(f"The registry has no such {what}", self.where, do="Check name and version, or push the image there.")
        if error.code == 429:
            return FleetError("The registry limits how often it may be asked", self.where, "HTTP 429",
                              "Try again later, or log in, or use a mirror registry.")
        return FleetError("The registry failed", self.where, f"HTTP {error.code} {codes}".strip(), "Try again, and check the registry's log.")

    @staticmethod
    def _codes(error: urllib.error.HTTPError) -> str:
        try:
            errors = json.loads(error.read(1 << 16)).get("errors") or []
            return " ".join(str(entry["code"]) for entry in errors)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return ""

    def _unreachable(self, error: Exception, url: str) -> FleetError:
        at = f"{self.where}, {_http.bare_url(url)}"
        tls = _http.tls_reason(error)
        if tls and ("wrong version" in tls or "record layer" in tls or "http request" in tls):
            return FleetError("The registry speaks no TLS", at, tls, "If that is meant, put http:// before its address.")
        if tls:
            return FleetError("The registry's certificate is not trusted", at, tls, "Give its CA as registry_ca.")
        return FleetError("The registry cannot be reached", at, _http.reason(error), "Check the address, the network and the proxy.")

    def _nonsense(self, body: bytes) -> FleetError:
        return FleetError("The registry answered something else than JSON", self.where, repr(body[:60]),
                          "Check that the address is a registry's.")
