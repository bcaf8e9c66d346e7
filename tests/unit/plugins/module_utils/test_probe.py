"""The probe against a small server on loopback that answers as told."""
from __future__ import annotations

import datetime
import ipaddress
import json
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _probe
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

KEY = "sk-test-4711"
MODELS = (_probe.Wanted("m", "chat", ("gpt-4",)), _probe.Wanted("e", "embedding"), _probe.Wanted("c", "completion"),
          _probe.Wanted("r", "rerank"))


def chunk(text):
    return json.dumps({"choices": [{"delta": {"content": text}}]})


GOOD_STREAM = (chunk(None), chunk("Hel"), chunk("lo"), '{"choices":[],"usage":{"completion_tokens":2}}', "[DONE]")
GOOD = {
    ("GET", "/readyz"): (200, b""),
    ("GET", "/v1/models"): (200, {"data": [{"id": name} for name in ("m", "gpt-4", "e", "c", "r")]}),
    ("POST", "/v1/chat/completions"): (200, {"choices": [{"message": {"content": "Hello."}}]}),
    ("POST", "/v1/completions"): (200, {"choices": [{"text": "Hello."}]}),
    ("POST", "/v1/embeddings"): (200, {"data": [{"embedding": [0.0, 0.5]}]}),
    ("POST", "/v1/rerank"): (200, {"results": [{"index": 0}]}),
}


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def send(self, status, body, kind="application/json", headers=()):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (("Content-Type", kind), ("Content-Length", str(len(data))), *headers):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def answer(self):
        server = self.server
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"null")
        server.seen.append((self.command, self.path, self.headers.get("Host"), body))
        if self.path != "/readyz" and server.guarded and self.headers.get("Authorization") != f"Bearer {KEY}":
            return self.send(401, {"error": {"message": "An authentication key is required"}})
        if isinstance(body, dict) and body.get("stream"):
            events = "".join(f"data: {event}\n\n" for event in server.stream)
            return self.send(200, events.encode(), server.stream_type)
        queue = server.answers.get((self.command, self.path), (404, {"error": {"message": "Resource not found"}}))
        status, content, *more = queue.pop(0) if isinstance(queue, list) else queue
        return self.send(status, content, headers=more)

    do_GET = do_POST = answer


@pytest.fixture
def serve():
    """serve(answers, ...) starts a server and returns it; all end with the test."""
    running = []

    def start(answers=None, guarded=True, stream=GOOD_STREAM, stream_type="text/event-stream", tls=None):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.answers, server.guarded, server.seen = {**GOOD, **(answers or {})}, guarded, []
        server.stream, server.stream_type = stream, stream_type
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *args: None
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        server.url = f"http://127.0.0.1:{server.server_port}"
        running.append(server)
        return server

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def ask(url, wanted=MODELS, key=KEY, options=_probe.Options(), **more):
    checks = _probe.probe(_probe.Target(url, key, timeout=5.0, **more), wanted, options, sleep=lambda seconds: None)
    assert KEY not in json.dumps([check.as_dict() for check in checks])
    return checks


def failed(checks):
    return [(check.name, check.target, check.got) for check in checks if not check.ok]


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
def test_all_is_well(serve, suffix):
    server = serve()
    checks = ask(server.url + suffix)
    assert failed(checks) == []
    names = [(check.name, check.target) for check in checks]
    assert names[:5] == [("ready", "/readyz"), ("models", "/v1/models"), ("chat", "m"), ("chat", "gpt-4"), ("stream", "m")]
    assert {"embedding", "completion", "rerank", "no_key", "wrong_key", "closed"} <= {name for name, _target in names}
    assert {check.cure for check in checks} == {""}
    stream = checks[4]
    assert (stream.tokens, stream.got) == (2, "2 chunks, 2 tokens, [DONE]")
    assert stream.first_token_seconds is not None


@pytest.mark.parametrize(
    "answers, name, target, got, cure",
    [
        ({("GET", "/readyz"): (503, b"")}, "ready", "/readyz", "503", "LocalAI is busy"),
        ({("GET", "/v1/models"): (200, {"data": [{"id": "m"}]})}, "models", "/v1/models", "not listed: gpt-4, e, c, r", "site.yml"),
        ({("GET", "/v1/models"): (200, b"<html>")}, "models", "/v1/models", "200", "site.yml"),
        ({("POST", "/v1/embeddings"): (200, {"data": [{"embedding": [0, 0]}]})}, "embedding", "e", "200, no embedding answer", "by hand"),
        ({("POST", "/v1/completions"): (200, {"choices": [{"text": " "}]})}, "completion", "c", "200, no completion answer", "by hand"),
        ({("POST", "/v1/completions"): (200, [])}, "completion", "c", "200, no completion answer", "by hand"),
        ({("POST", "/v1/rerank"): (404, {"error": {"message": f"no, {KEY}"}})}, "rerank", "r", "404: no, ***, no rerank answer", "site.yml"),
        ({("POST", "/v1/rerank"): (502, b"")}, "rerank", "r", "502, no rerank answer", "Start LocalAI"),
        ({("POST", "/v1/rerank"): (500, {"error": "x"})}, "rerank", "r", "500: x, no rerank answer", "log"),
        ({("GET", "/system"): (200, {})}, "closed", "/system", "GET 200", "admin route"),
        ({("GET", "/models/apply"): (405, {})}, "closed", "/models/apply", "GET 405", "admin route"),
        ({("POST", "/models/apply"): (500, {})}, "closed", "/models/apply", "POST 500", "admin route"),
        ({("GET", "/v1/system"): (200, {})}, "closed", "/v1/system (X-Forwarded-Prefix: /v1)", "GET 200", "admin route"),
        ({("POST", "/v1/models/apply"): (200, {})}, "closed", "/v1/models/apply (X-Forwarded-Prefix: /v1)", "POST 200", "admin"),
    ],
)
def test_one_thing_is_wrong(serve, answers, name, target, got, cure):
    checks = ask(serve(answers).url)
    assert failed(checks) == [(name, target, got)]
    assert cure in next(check.cure for check in checks if not check.ok)


def test_a_route_that_exists_is_never_posted_to(serve):
    server = serve({("GET", "/backend/shutdown"): (405, {})})
    ask(server.url, wanted=[])
    assert ("POST", "/backend/shutdown") not in [seen[:2] for seen in server.seen]


@pytest.mark.parametrize(
    "stream, kind, got",
    [
        ([chunk("a")], "text/event-stream", "1 chunks, then the end without [DONE]"),
        (["[DONE]"], "text/event-stream", "no chunk with text"),
        ([chunk("a"), "{bad", "[DONE]"], "text/event-stream", "an error in the stream: an event that is no JSON"),
        ([chunk("a"), '{"error": {"message": "too long"}}', "[DONE]"], "text/event-stream", "an error in the stream: too long"),
        (GOOD_STREAM, "application/json", "200 application/json"),
    ],
)
def test_bad_streams(serve, stream, kind, got):
    checks = ask(serve(stream=stream, stream_type=kind).url, wanted=[_probe.Wanted("m")])
    assert failed(checks) == [("stream", "m", got)]


def test_reasoning_counts_as_an_answer(serve):
    reasoning = {"choices": [{"message": {"content": "", "reasoning_content": "Hm."}}]}
    assert failed(ask(serve({("POST", "/v1/chat/completions"): (200, reasoning)}).url)) == []


def test_busy_for_a_short_time_is_asked_again(serve):
    busy, good = (503, {}, ("Retry-After", "1")), GOOD[("POST", "/v1/embeddings")]
    assert failed(ask(serve({("POST", "/v1/embeddings"): [busy, busy, good]}).url)) == []
    server = serve({("POST", "/v1/embeddings"): [(503, {}, ("Retry-After", "600")), good]})
    assert [name for name, _target, _got in failed(ask(server.url))] == ["embedding"]


def test_a_model_is_asked_as_often_as_it_has_instances(serve):
    good, down = GOOD[("POST", "/v1/chat/completions")], (502, b"")
    checks = ask(serve({("POST", "/v1/chat/completions"): [good, good, down]}).url, wanted=[_probe.Wanted("m", times=3)],
                 options=_probe.Options(stream=False))
    assert [check.target for check in checks if check.name == "chat"] == ["m", "m, time 2 of 3", "m, time 3 of 3"]
    assert failed(checks) == [("chat", "m, time 3 of 3", "502, no chat answer")]


def test_an_open_service_is_told(serve):
    server = serve(guarded=False)
    assert [name for name, _target, _got in failed(ask(server.url))] == ["no_key", "wrong_key"]
    assert failed(ask(server.url, key="")) == []


def test_checks_can_be_left_out(serve):
    options = _probe.Options(stream=False, ready_path="", closed=())
    checks = ask(serve().url, wanted=[_probe.Wanted("m")], options=options)
    assert [check.name for check in checks] == ["models", "chat", "no_key", "wrong_key"]


# --- connections


def closed_port():
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """PEM of an authority, and of a certificate for ai.example.com with its key."""
    base, key = tmp_path_factory.mktemp("tls"), ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.timezone.utc)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ai.example.com")])
    names = [x509.DNSName("ai.example.com"), x509.IPAddress(ipaddress.ip_address("127.0.0.9"))]
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), False)
        .add_extension(x509.BasicConstraints(True, None), True).sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (base / "ca.crt").write_bytes(pem)
    (base / "server.pem").write_bytes(private + pem)
    return base


def test_a_name_is_asked_at_an_address(serve, authority):
    server = serve(tls=str(authority / "server.pem"))
    checks = ask("https://ai.example.com", ca_file=str(authority / "ca.crt"), resolve_to=f"127.0.0.1:{server.server_port}")
    assert failed(checks) == []
    assert {seen[2] for seen in server.seen} == {"ai.example.com"}


@pytest.mark.parametrize(
    "url, trusted, got",
    [
        ("https://ai.example.com", False, "is refused for ai.example.com"),
        ("https://other.example.com", True, "is refused for other.example.com"),
    ],
)
def test_bad_certificates(serve, authority, url, trusted, got):
    server = serve(tls=str(authority / "server.pem"))
    ca_file = str(authority / "ca.crt") if trusted else ""
    checks = ask(url, ca_file=ca_file, resolve_to=f"127.0.0.1:{server.server_port}")
    assert len(checks) == 1 and got in checks[0].got and "ca_file" in checks[0].cure and not checks[0].answered


def test_no_tls_behind_the_port(serve):
    checks = ask("https://ai.example.com", resolve_to=serve().url[len("http://"):])
    assert len(checks) == 1 and "no TLS" in checks[0].got


def test_a_missing_ca_file(serve):
    checks = ask("https://ai.example.com", ca_file="/nowhere/ca.crt", resolve_to="127.0.0.1:1")
    assert len(checks) == 1 and "/nowhere/ca.crt" in checks[0].got


def test_nobody_listens():
    checks = ask(f"http://127.0.0.1:{closed_port()}")
    assert len(checks) == 1 and "refused" in checks[0].got and "Start the proxy" in checks[0].cure


@pytest.mark.parametrize(
    "error, got",
    [
        (socket.gaierror(-2, "x"), "has no address"),
        (socket.timeout("x"), "in time"),
        (ConnectionResetError("reset"), "no HTTP answer"),
        (ssl.SSLError(1, "x"), "no TLS"),
    ],
)
def test_words_for_errors(error, got):
    said = _probe.Client(_probe.Target("http://ai.example.com")).unanswered(error)
    assert got in said.got and said.cure.endswith(".")


@pytest.mark.parametrize("url, resolve_to", [
    ("ai.example.com", ""), ("ftp://x", ""), ("https://", ""), ("http://x:99999", ""), ("http://x", "1.2.3.4:abc"),
])
def test_bad_input(url, resolve_to):
    with pytest.raises(FleetError):
        _probe.probe(_probe.Target(url, resolve_to=resolve_to))


def test_unknown_kind():
    with pytest.raises(FleetError, match="image"):
        _probe.probe(_probe.Target("http://127.0.0.1:1"), [_probe.Wanted("m", "image")])


@pytest.mark.parametrize("text, want", [("1.2.3.4", ("1.2.3.4", 443)), ("1.2.3.4:8443", ("1.2.3.4", 8443)),
                                        ("::1", ("::1", 443)), ("[::1]:8", ("::1", 8)), ("[::1]", ("::1", 443))])
def test_addresses(text, want):
    assert _probe._address(text, 443) == want


@pytest.mark.parametrize(
    "times, tokens, want", [([], 0, None), ([1.0], 1, None), ([1.0, 2.0, 3.0], 3, 1.0), ([1.0, 1.5], 11, 20.0)],
)
def test_speed(times, tokens, want):
    assert _probe._Stream(times, tokens).speed() == want
