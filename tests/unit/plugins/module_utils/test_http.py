"""Trust, redirects and reasons of the controller's HTTP clients."""
from __future__ import annotations

import http.client
import io
import ssl
import urllib.error
import urllib.request

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _http
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError


def redirected(old: str, new: str) -> urllib.request.Request:
    sent = {"Authorization": "Bearer secretword", "Cookie": "secretword", "X-Api-Key": "secretword", "Range": "bytes=0-1", "User-Agent": "x", "Accept": "y"}
    return _http.CarefulRedirects().redirect_request(urllib.request.Request(old, headers=sent), None, 302, "Found", {}, new)


@pytest.mark.parametrize("old, new, kept", [
    ("https://a/x", "https://a/y", True), ("https://a/x", "https://b/y", False), ("https://a/x", "https://a:8443/y", False),
    ("http://a/x", "http://a/y", True), ("http://a/x", "https://a/y", False),
])
def test_credentials_stay_at_their_origin(old, new, kept):
    request = redirected(old, new)
    assert {request.has_header(name) for name in ("Authorization", "Cookie", "X-api-key")} == {kept}
    assert all(request.has_header(name) for name in ("Range", "User-agent", "Accept"))


def test_the_body_of_a_redirect_is_not_read():
    body = io.BytesIO(b"endless")
    _http.CarefulRedirects().redirect_request(urllib.request.Request("https://a/x"), body, 302, "Found", {}, "https://a/y")
    assert body.closed


def test_no_redirect_leaves_tls():
    with pytest.raises(FleetError, match="without TLS") as error:
        redirected("https://a/x?sig=secretword", "http://b/y?sig=secretword")
    assert "secretword" not in str(error.value)


def test_trust_adds_to_the_system(tls_files):
    assert len(_http.trust(str(tls_files[0])).get_ca_certs()) >= 1


@pytest.mark.parametrize("text, got", [(None, "No such file"), ("no certificate", "no certificate")])
def test_a_bad_ca_file_is_named(tmp_path, text, got):
    path = tmp_path / "ca.pem"
    if text:
        path.write_text(text)
    with pytest.raises(FleetError, match=f"CA file cannot be read .*ca.pem.*{got}"):
        _http.trust(str(path))


@pytest.mark.parametrize("url, bare", [
    ("https://u:p@h:1/a/b?c=d#e", "https://h:1/a/b"), ("http://h/a", "http://h/a"), ("http://h/", "http://h/"), ("file:///a/b", "file:///a/b"), ("a", "a"),
])
def test_bare_urls_hold_no_secret(url, bare):
    assert _http.bare_url(url) == bare


def test_reasons():
    tls = urllib.error.URLError(ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1)"))
    wrapped = OSError("all failed")
    wrapped.__cause__ = tls
    assert _http.tls_reason(OSError("x")) is None
    assert "wrong version number" in (_http.tls_reason(tls) or "") and _http.tls_reason(wrapped)
    assert _http.reason(urllib.error.URLError(ConnectionRefusedError(111, "Connection refused"))) == "[Errno 111] Connection refused"
    assert _http.reason(OSError()) == "OSError"
    assert _http.reason(http.client.LineTooLong("header line")) == "more than 65536 bytes when reading header line"
