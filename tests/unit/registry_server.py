"""A container registry on loopback for unit tests: manifests, blobs, token and basic authentication, and its faults."""
from __future__ import annotations

import base64
import hashlib
import json
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Iterator
from urllib.parse import parse_qs, urlsplit

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def digest_of(body: bytes) -> str:
    return "sha256:" + hashlib.sha256(body).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "RegistryServer"

    def do_GET(self) -> None:  # noqa: N802  http.server names it so
        server, path = self.server, urlsplit(self.path).path
        server.requests.append((self.path, self.headers.get("Authorization")))
        if path == "/token":
            return self._token()
        if server.fault:
            return self._answer(*server.fault)
        if not self._allowed():
            return self._answer(401, b"{}", {"WWW-Authenticate": self._challenge()})
        found = server.bodies.get(path)
        if found is None:
            known = any(key.startswith(path.rsplit("/", 2)[0] + "/") for key in server.bodies)
            code = "MANIFEST_UNKNOWN" if known else "NAME_UNKNOWN"
            return self._answer(404, json.dumps({"errors": [{"code": code}]}).encode())
        return self._answer(200, found[0], {"Content-Type": found[1]})

    def _allowed(self) -> bool:
        given = self.headers.get("Authorization")
        return {"none": True, "bearer": given == "Bearer t0ken", "basic": given == self.server.basic}[self.server.auth]

    def _challenge(self) -> str:
        if self.server.auth == "basic":
            return 'Basic realm="lab"'
        return f'Bearer realm="{self.server.realm or self.server.url + "/token"}",service="lab",scope="repository:a/b:pull,push"'

    def _token(self) -> None:
        if self.server.login and self.headers.get("Authorization") != self.server.basic:
            return self._answer(401, b"{}")
        query = parse_qs(urlsplit(self.path).query)
        right = query == {"service": ["lab"], "scope": ["repository:a/b:pull,push"]}
        return self._answer(200, json.dumps({"token": "t0ken" if right else "wrong"}).encode())

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class RegistryServer(ThreadingHTTPServer):
    """`put` images; `auth` is none, bearer or basic; `login` makes the token server ask for credentials; `fault` answers all."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: dict[str, tuple[bytes, str]] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.auth, self.login, self.realm, self.tls = "none", False, "", False
        self.fault: tuple[int, bytes] | None = None
        self.basic = "Basic " + base64.b64encode(b"ann:pa55word").decode()

    @property
    def address(self) -> str:
        return ("" if self.tls else "http://") + f"127.0.0.1:{self.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.server_address[1]}"

    def put(self, name: str, tag: str, body: Any, kind: str) -> str:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.bodies[f"/v2/{name}/manifests/{tag}"] = (raw, kind)
        return digest_of(raw)

    def put_blob(self, name: str, body: Any) -> str:
        raw = json.dumps(body).encode()
        self.bodies[f"/v2/{name}/blobs/{digest_of(raw)}"] = (raw, "application/octet-stream")
        return digest_of(raw)

    def put_image(self, name: str, tag: str, architecture: str = "amd64", kind: str = MANIFEST, salt: str = "") -> str:
        config = self.put_blob(name, {"os": "linux", "architecture": architecture, "salt": salt})
        return self.put(name, tag, {"schemaVersion": 2, "mediaType": kind, "config": {"digest": config}, "layers": []}, kind)

    def put_index(self, name: str, tag: str, *architectures: str) -> str:
        entries = [{"digest": "sha256:" + "0" * 64, "platform": {"os": "linux", "architecture": a}} for a in architectures]
        entries.append({"digest": "sha256:" + "1" * 64, "platform": {"os": "unknown", "architecture": "unknown"}})
        return self.put(name, tag, {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}, INDEX)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextmanager
def running(tls: tuple[Path, Path] | None = None) -> Iterator[RegistryServer]:
    server = RegistryServer()
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
        server.socket, server.tls = context.wrap_socket(server.socket, server_side=True), True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
