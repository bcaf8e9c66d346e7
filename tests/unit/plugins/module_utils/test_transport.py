"""Where bytes come from: what a URL may be, where a redirect may lead, how long a server may make us wait."""
from __future__ import annotations

import io
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from ansible_collections.localai.fleet.plugins.module_utils import _transport
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("ftp://host/x", "scheme ftp"),
        ("/x.gguf", "scheme none"),
        ("https:///x", "cannot be fetched"),
        ("https://me:secret@host/x", "The URL holds credentials (https://host/x)"),
        ("file://share/x", "cannot be fetched"),
    ],
)
def test_refused_urls(url: str, sentence: str) -> None:
    with pytest.raises(FleetError) as error:
        _transport.open_source(url, {})
    assert sentence in str(error.value)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "location", "target"),
    [
        ("https://a/x", "/y", "https://a/y"),
        ("https://a/x", "https://b/y?z", "https://b/y?z"),
        ("http://a/x", "https://a/x", "https://a/x"),
        ("http://a/x", "http://127.0.0.1/x", "http://127.0.0.1/x"),
        ("https://a/x", "http://a/x", None),
        ("https://a/x", "http://169.254.169.254/latest", None),
        ("http://a/x", "http://169.254.169.254/latest", None),
        ("http://a/x", "http://[fe80::1]/", None),
        ("http://a/x", "file:///etc/shadow", None),
    ],
)
def test_redirected(url: str, location: str, target: str | None) -> None:
    if target:
        assert _transport.redirected(url, location) == target
        return
    with pytest.raises(FleetError, match="redirects"):
        _transport.redirected(url, location)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "86400"}, 600.0),
        ({"Retry-After": formatdate(time.time() - 60)}, 0.0),
        ({"Retry-After": formatdate(time.time() + 9999)}, 600.0),
        ({"RateLimit": '"resolvers";r=0;t=42'}, 43.0),
        ({"RateLimit": '"resolvers";r=2998;t=210'}, None),
    ],
)
def test_wait_asked(headers: dict[str, str], seconds: float | None) -> None:
    assert _transport.wait_asked(headers) == seconds


@pytest.mark.parametrize(
    ("status", "headers", "total", "start"),
    [
        (200, {"Content-Length": "100"}, 100, 0),
        (200, {}, None, 0),
        (206, {"Content-Range": "bytes 40-99/100"}, 100, 40),
        (206, {"Content-Range": "bytes 30-99/100"}, 100, 30),
        (206, {"Content-Range": "bytes 40-99/*"}, None, 40),
        (206, {"Content-Length": "60"}, None, 40),
        (206, {"Content-Length": "100"}, None, -1),
        (206, {"Content-Range": "pages 1-2/3"}, None, -1),
    ],
)
def test_answer(status: int, headers: dict[str, str], total: int | None, start: int) -> None:
    answer = _transport.Answer(io.BytesIO(), status, headers, "https://a/x", 40)
    assert (answer.total, answer.start(60)) == (total, start)


@pytest.mark.parametrize(("etag", "kept"), [('"abc"', '"abc"'), ('W/"abc"', ""), ("", "")])
def test_only_strong_tags_guard_a_resume(etag: str, kept: str) -> None:
    assert _transport.Answer(io.BytesIO(), 200, {"ETag": etag}, "https://a/x", 0).etag == kept


def test_origin() -> None:
    assert _transport.origin("https://a/x") == _transport.origin("https://a:443/y")
    assert len({_transport.origin(url) for url in ("https://a/", "http://a/", "https://b/", "https://a:444/")}) == 4


def test_a_source_names_a_bad_ca_file(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match="CA file cannot be read .*absent.pem.*No such file"):
        _transport.open_source("https://a/x", {}, str(tmp_path / "absent.pem"))


def test_a_file_of_the_host(tmp_path: Path) -> None:
    path = tmp_path / "a b.gguf"
    path.write_bytes(b"0123456789")
    with _transport.open_source(path.as_uri(), {}).open(4) as answer:
        assert (answer.total, answer.start(6), answer.read(100)) == (10, 4, b"456789")
    with pytest.raises(FleetError, match="cannot be read on this host"):
        _transport.open_source(f"file://{tmp_path}/absent", {}).open(0)
