"""The edge as the role makes it: its own templates, its own script, real nginx in a container; and an upstream that records what reaches it."""
from __future__ import annotations

import datetime
import hashlib
import http.client
import ipaddress
import json
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from docker.models.containers import Container
from docker.models.images import Image
from docker.models.networks import Network

ROLE = Path(__file__).resolve().parents[2] / "roles" / "proxy"
DOMAIN = "ai.example.com"
ADMIN_KEY = "internal-admin-key-0123456789abcdef"
KEYS = {"all": "sk-" + "a" * 64, "few": "sk-" + "b" * 64}
USER = "12345:12345"
ROUTES = (
    ("chat-model", "chat-model", "chat"), ("gpt-4", "chat-model", "chat"), ("base", "base", "completion"),
    ("embedder", "embedder", "embedding"), ("ranker", "ranker", "rerank"), ("seer", "seer", "chat"),
)
SEES = ("seer",)
CONSUMERS = (("all", ()), ("few", ("chat-model",)))


@dataclass
class Seen:
    """One request that reached an upstream."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


def _answer(handler: Any, seen: Seen) -> None:
    handler.reply(200, b'{"ok":true}')


@dataclass
class Upstream:
    """An HTTP server on the host's side of the container network. `answer(handler, seen)` says what it does."""

    host: str
    seen: list[Seen] = field(default_factory=list)
    answer: Callable[[Any, Seen], None] = _answer

    def __post_init__(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                seen = Seen(self.command, self.path, self.headers.items(), body)
                outer.seen.append(seen)
                outer.answer(self, seen)

            do_GET = do_POST

            def reply(self, status: int, body: bytes, **headers: str) -> None:
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer((self.host, 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"{self.host}:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@dataclass
class Reply:
    """One answer of the edge."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def authority(folder: Path) -> ssl.SSLContext:
    """A self-signed certificate for DOMAIN in `folder`; the context that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, DOMAIN)])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(DOMAIN)]), critical=False).sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (folder / "tls.crt").write_bytes(pem)
    (folder / "internal.key").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return ssl.create_default_context(cadata=pem.decode())


def variables(upstreams: dict[str, list[str]], **changes: Any) -> dict[str, Any]:
    """The role's own variables with what a playbook hands over; `upstreams` by model, "" for the rest."""
    loaded = {}
    for part in ("defaults", "vars"):
        loaded.update(yaml.safe_load((ROLE / part / "main.yml").read_text()))
    trusted = {key: _trusted(value) for key, value in loaded.items()}
    return {**trusted, "proxy_domain": DOMAIN, "proxy_admin_key": ADMIN_KEY, "__proxy_unprepared": False,
            "proxy_routes": [{"name": name, "model": model, "kind": kind, "images": name in SEES, "upstreams": upstreams.get(model, upstreams[""])}
                             for name, model, kind in ROUTES],
            "__proxy_keys": {"consumers": [
                {"name": name, "models": list(models), "sha256": hashlib.sha256(KEYS[name].encode()).hexdigest()}
                for name, models in CONSUMERS]}, **changes}


def _trusted(value: Any) -> Any:
    if isinstance(value, str):
        return trust_as_template(value)
    if isinstance(value, dict):
        return {key: _trusted(item) for key, item in value.items()}
    return [_trusted(item) for item in value] if isinstance(value, list) else value


def render(name: str, values: dict[str, Any]) -> str:
    """A template of the role, as Ansible renders it."""
    templar = Templar(loader=DataLoader(), variables=values)
    text = (ROLE / "templates" / name).read_text()
    return templar.template(trust_as_template(text), escape_backslashes=False)


def write(folder: Path, values: dict[str, Any]) -> ssl.SSLContext:
    """The files that the container mounts, in `folder`/config and `folder`/secrets; the context that trusts them."""
    config, secrets = folder / "config", folder / "secrets"
    for path in (config, secrets):
        path.mkdir(exist_ok=True)
    fresh = not (secrets / "internal.key").exists()
    context = authority(config) if fresh else ssl.create_default_context(cafile=str(config / "tls.crt"))
    if fresh:
        (config / "internal.key").rename(secrets / "internal.key")
    (config / "edge.js").write_text((ROLE / "files" / "edge.js").read_text())
    for name in ("nginx.conf", "tables.js"):
        (config / name).write_text(render(f"{name}.j2", values))
    templar = Templar(loader=DataLoader(), variables=values)
    (secrets / templar.template(values["__proxy_admin_file"])).write_text(f'proxy_set_header Authorization "Bearer {ADMIN_KEY}";\n')
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return context


@dataclass
class Edge:
    """nginx with the role's configuration, reached at the container's address."""

    container: Container
    context: ssl.SSLContext
    network: str

    @property
    def address(self) -> str:
        self.container.reload()
        return self.container.attrs["NetworkSettings"]["Networks"][self.network]["IPAddress"]

    def connect(self, timeout: float = 15, name: str | None = DOMAIN) -> ssl.SSLSocket:
        plain = socket.create_connection((self.address, 8443), timeout=timeout)
        return self.context.wrap_socket(plain, server_hostname=name)

    def open(self, timeout: float = 15) -> http.client.HTTPConnection:
        """A connection on which the caller speaks HTTP itself."""
        connection = http.client.HTTPConnection(DOMAIN, timeout=timeout)
        connection.sock = self.connect(timeout)
        return connection

    def ask(self, method: str, path: str, body: Any = None, key: str | None = "all", headers: dict[str, str] | None = None) -> Reply:
        """One request; a dict goes as JSON, bytes as they are (JSON unless a header says otherwise)."""
        sent = {"Authorization": f"Bearer {KEYS.get(key, key)}"} if key else {}
        if body is not None:
            sent["Content-Type"] = "application/json"
        sent.update(headers or {})
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        connection = self.open()
        try:
            connection.request(method, path, body=data, headers={k: v for k, v in sent.items() if v is not None})
            answer = connection.getresponse()
            return Reply(answer.status, answer.getheaders(), answer.read())
        finally:
            connection.close()

    def raw(self, request: bytes) -> bytes:
        """Bytes as they are, until the edge closes or says nothing more for a while."""
        with self.connect(timeout=3) as sock:
            sock.sendall(request)
            told = b""
            try:
                while chunk := sock.recv(65536):
                    told += chunk
            except (socket.timeout, OSError):
                pass
            return told

    def log(self) -> str:
        return self.container.logs().decode()

    def lines(self) -> list[dict[str, Any]]:
        """The access log so far."""
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    def nginx(self, *arguments: str) -> tuple[int, str]:
        """Run nginx itself in the container."""
        code, out = self.container.exec_run(["nginx", "-e", "stderr", "-c", "/etc/proxy/nginx.conf", *arguments])
        return code, out.decode()


def start(client: Any, image: Image, network: Network, folder: Path, values: dict[str, Any], name: str) -> Edge:
    """The container, hardened as the role's Compose file says, once it listens."""
    context = write(folder, values)
    compose = yaml.safe_load(render("compose.yaml.j2", {
        **values, "proxy_image": image.id, "__proxy_ids": USER, "__proxy_root": "/opt/localai", "__proxy_secrets": "/opt/localai/secrets"}))
    service = compose["services"]["proxy"]
    container = client.containers.run(
        image.id, detach=True, name=name, network=network.name, user=service["user"], entrypoint=service["entrypoint"],
        read_only=service["read_only"], cap_drop=service["cap_drop"], security_opt=service["security_opt"],
        pids_limit=service["pids_limit"], mem_limit=service["mem_limit"], memswap_limit=service["memswap_limit"],
        nano_cpus=int(float(service["cpus"]) * 1e9), stop_signal=service["stop_signal"],
        tmpfs=dict(item.partition(":")[::2] for item in service["tmpfs"]),
        volumes={str(folder / "config"): {"bind": "/etc/proxy", "mode": "ro"}, str(folder / "secrets"): {"bind": "/run/proxy", "mode": "ro"}},
    )
    edge = Edge(container, context, network.name)
    try:
        wait(lambda: listening(edge), "the edge listens", edge.log)
    except AssertionError:
        container.remove(force=True, v=True)
        raise
    return edge


def listening(edge: Edge) -> bool:
    try:
        return edge.ask("GET", "/readyz", key=None).status == 200
    except (OSError, http.client.HTTPException):
        return False


def wait(check: Callable[[], bool], what: str, more: Callable[[], str] = str, seconds: float = 20) -> None:
    """Until `check` holds, within `seconds`."""
    end = time.monotonic() + seconds
    while not check():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}\n{more()[-2000:]}")
        time.sleep(0.05)


def gateway(network: Network) -> str:
    """The host's own address in the container network."""
    network.reload()
    return str(ipaddress.ip_address(network.attrs["IPAM"]["Config"][0]["Gateway"]))
