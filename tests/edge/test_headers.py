"""Which headers and queries pass, in both directions, and what the edge says of itself."""
from __future__ import annotations

import ssl

import pytest
from tests.edge.harness import ADMIN_KEY, DOMAIN, KEYS

pytestmark = pytest.mark.engine

PATH, BODY = "/v1/chat/completions", {"model": "gpt-4"}
TRAPS = {
    "X-Forwarded-Prefix": "/v1", "X-Forwarded-Host": "evil.example", "Forwarded": "host=evil", "X-Forwarded-For": "6.6.6.6",
    "X-Forwarded-Proto": "http", "X-Forwarded-Uri": "/system", "X-Forwarded-User": "root", "X-Forwarded-Email": "a@b", "X-Forwarded-Groups": "admin",
    "X-Auth-Request-Email": "a@b", "X-Auth-Request-User": "root", "X_Auth_Request_User": "root", "X-Real-IP": "6.6.6.6", "X-LocalAI-Node": "n1",
    "Cookie": "session=x; token=y", "xi-api-key": "k", "x-api-key": "k2", "X-Request-Id": "mine", "X-Correlation-Id": "mine", "X-HTTP-Method-Override": "GET",
    "X-Original-URL": "/system", "X-Rewrite-URL": "/system", "Via": "x", "Origin": "https://evil.example", "Accept-Encoding": "gzip", "Range": "bytes=0-1",
    "Connection": "upgrade", "Upgrade": "websocket", "Model": "other", "Expect": "x",
}
PASSED = {"host", "content-type", "content-length", "accept", "user-agent", "authorization", "extra-usage", "anthropic-version", "x-real-ip",
          "x-forwarded-for", "x-forwarded-host", "x-forwarded-port", "x-forwarded-proto", "x-request-id", "x-correlation-id"}


def test_no_header_of_the_client_reaches_localai_unless_it_is_named(edge, upstream) -> None:
    traps = {name: value for name, value in TRAPS.items() if name not in ("Expect",)}
    reply = edge.ask("POST", PATH, BODY, headers={**traps, "Accept": "text/event-stream", "User-Agent": "me", "Extra-Usage": "true"})
    assert reply.status == 200
    seen = upstream.seen[0]
    assert {name.lower() for name, value in seen.headers} <= PASSED
    assert len({name.lower() for name, value in seen.headers}) == len(seen.headers)
    assert seen.header("Authorization") == [f"Bearer {ADMIN_KEY}"]
    assert seen.header("X-Forwarded-Host") == [DOMAIN] == seen.header("Host")
    assert seen.header("X-Forwarded-Proto") == ["https"] and seen.header("X-Forwarded-Port") == ["443"]
    assert seen.header("X-Forwarded-For") == seen.header("X-Real-IP") != ["6.6.6.6"]
    assert (seen.header("Accept"), seen.header("User-Agent"), seen.header("Extra-Usage")) == (["text/event-stream"], ["me"], ["true"])
    assert seen.header("X-Request-Id") == seen.header("X-Correlation-Id") == reply.header("X-Request-Id") != ["mine"]
    told = str(seen.headers) + seen.path + seen.body.decode()
    for value in ("evil", "6.6.6.6", "session=", "root", "mine", KEYS["all"]):
        assert value not in told


@pytest.mark.parametrize("query", ["?model=embedder", "?model=nope&x=1", "?MODEL=base", "?", "?api_key=" + KEYS["all"], "?model=a#frag"])
def test_no_query_reaches_localai(edge, upstream, query) -> None:
    assert edge.ask("POST", PATH + query, BODY).status == 200
    assert (upstream.seen[0].path, upstream.seen[0].body) == (PATH, b'{"model": "gpt-4"}')


def test_a_query_is_no_model(edge, upstream) -> None:
    assert edge.ask("POST", PATH + "?model=gpt-4", {"messages": []}).status == 400
    assert upstream.seen == []


def test_what_localai_says_of_itself_is_replaced(edge, upstream) -> None:
    hidden = {"Content_Security_Policy": "x", "X_Frame_Options": "SAMEORIGIN", "Referrer_Policy": "x", "X_Content_Type_Options": "x", "Machine_Tag": "m",
              "X_Localai_Node": "n", "Www_Authenticate": "Bearer realm=x", "Set_Cookie": "a=b", "Server": "LocalAI", "Access_Control_Allow_Origin": "*",
              "X_Accel_Redirect": "/_infer", "X_Accel_Buffering": "yes"}
    upstream.answer = lambda handler, _: handler.reply(200, b"{}", X_Correlation_Id="c", **hidden)
    reply = edge.ask("POST", PATH, BODY)
    assert reply.body == b"{}"
    assert reply.header("X-Content-Type-Options") == ["nosniff"] and reply.header("X-Frame-Options") == ["DENY"]
    assert reply.header("Content-Security-Policy") == ["default-src 'none'; frame-ancestors 'none'"]
    assert reply.header("Referrer-Policy") == ["no-referrer"] and reply.header("X-Correlation-Id") == ["c"]
    for name in ("Machine-Tag", "X-Localai-Node", "Www-Authenticate", "Set-Cookie", "Access-Control-Allow-Origin", "X-Accel-Redirect", "Retry-After"):
        assert reply.header(name) == [], name
    assert "nginx" in reply.header("Server") or reply.header("Server") == []


@pytest.mark.parametrize(("status", "headers", "retry"), [
    (400, {}, []), (404, {}, []), (413, {}, []), (429, {"Retry_After": "7"}, ["7"]), (500, {}, []), (503, {"Retry_After": "10"}, ["10"]), (503, {}, ["5"])])
def test_an_error_of_localai_passes_as_it_is(edge, upstream, status, headers, retry) -> None:
    body = b'{"error":{"code":%d,"message":"own words","type":""}}\n' % status
    upstream.answer = lambda handler, _: handler.reply(status, body, **headers)
    reply = edge.ask("POST", PATH, BODY)
    assert (reply.status, reply.body, reply.header("Retry-After")) == (status, body, retry)


def test_refusals_carry_the_same_headers(edge) -> None:
    for reply in (edge.ask("GET", "/nowhere"), edge.ask("GET", "/v1/models", key=None), edge.ask("POST", PATH, b"bad"), edge.ask("GET", "/v1/models")):
        assert reply.header("X-Content-Type-Options") == ["nosniff"] and len(reply.header("X-Request-Id")) == 1
        assert reply.header("Content-Type") == ["application/json"]
        assert "nginx/" not in str(reply.headers)


@pytest.mark.parametrize("request_text", [
    b"GET / HTTP/1.1\r\n\r\n", b"NONSENSE\r\n\r\n", b"GET /v1/models HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\nHost: ai.example.com\r\nX: " + b"y" * 40000 + b"\r\n\r\n",
    b"POST /v1/completions HTTP/1.1\r\nHost: ai.example.com\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /v1/completions HTTP/1.1\r\nHost: ai.example.com\r\nContent-Length: x\r\n\r\n",
])
def test_what_is_no_http_gets_the_same_shape(edge, upstream, request_text) -> None:
    told = edge.raw(request_text)
    assert b" 400 " in told.split(b"\r\n")[0] and b'{"error":{"code":400,' in told
    assert upstream.seen == []


def test_a_long_address(edge) -> None:
    assert b'{"error":{"code":414,' in edge.raw(b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: ai.example.com\r\n\r\n")


@pytest.mark.parametrize("name", ["other.example.com", None])
def test_another_name_gets_no_certificate(edge, name) -> None:
    edge.context.check_hostname = False
    try:
        with pytest.raises(ssl.SSLError):
            edge.connect(name=name).close()
    finally:
        edge.context.check_hostname = True


def test_another_host_behind_the_right_name(edge, upstream) -> None:
    assert edge.ask("GET", "/v1/models", headers={"Host": "other.example.com"}).json["error"]["code"] == 421


@pytest.mark.parametrize(("version", "works"), [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_versions_of_tls(edge, version, works) -> None:
    before = edge.context.minimum_version, edge.context.maximum_version
    edge.context.minimum_version = edge.context.maximum_version = version
    try:
        edge.connect().close()
        assert works
    except ssl.SSLError:
        assert not works
    finally:
        edge.context.maximum_version, edge.context.minimum_version = before[1], before[0]
