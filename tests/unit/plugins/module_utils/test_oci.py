"""Resolving image tags against a registry on loopback."""
from __future__ import annotations

import socket

import pytest
import registry_server
from ansible_collections.localai.fleet.plugins.module_utils import _oci
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.module_utils._oci import Image, Pin, Registry

IMAGE = Image("quay.io/a/b", "v1.0")


@pytest.fixture
def registry():
    with registry_server.running() as server:
        yield server


def resolve(server, image=IMAGE, **options):
    return _oci.resolve(image, Registry(server.address, **options))


@pytest.mark.parametrize("name, address, expected", [
    ("quay.io/go-skynet/local-ai", "", ("https://quay.io", "go-skynet/local-ai")),
    ("docker.io/library/nginx", "", ("https://registry-1.docker.io", "library/nginx")),
    ("docker.io/nginx", "", ("https://registry-1.docker.io", "library/nginx")),
    ("nginx", "", ("https://registry-1.docker.io", "library/nginx")),
    ("grafana/grafana", "", ("https://registry-1.docker.io", "grafana/grafana")),
    ("localhost/a", "", ("https://localhost", "a")),
    ("quay.io/a/b", "10.0.0.5:5000", ("https://10.0.0.5:5000", "a/b")),
    ("nginx", "10.0.0.5:5000", ("https://10.0.0.5:5000", "library/nginx")),
    ("quay.io/a/b", "http://mirror:5000/", ("http://mirror:5000", "a/b")),
    ("quay.io/a/b", "https://harbor.example.com/quay", ("https://harbor.example.com", "quay/a/b")),
])
def test_where_an_image_is_asked_for(name, address, expected):
    assert _oci.locate(Image(name, "v1"), address) == expected


@pytest.mark.parametrize("architectures, platform", [
    (("amd64", "arm64"), "multi"), (("arm64",), "linux/arm64"), ((), "multi"),
])
def test_an_index(registry, architectures, platform):
    digest = registry.put_index("a/b", "v1.0", *architectures)
    assert resolve(registry) == Pin(digest, platform)
    assert len(registry.requests) == 1


@pytest.mark.parametrize("kind", [registry_server.MANIFEST, registry_server.DOCKER_MANIFEST])
def test_a_manifest(registry, kind):
    digest = registry.put_image("a/b", "v1.0", "arm64", kind)
    assert resolve(registry) == Pin(digest, "linux/arm64")


@pytest.mark.parametrize("auth, login, options", [
    ("bearer", False, {}), ("bearer", True, {"username": "ann", "password": "pa55word"}),
    ("basic", False, {"username": "ann", "password": "pa55word"}),
])
def test_credentials(registry, auth, login, options):
    registry.auth, registry.login = auth, login
    digest = registry.put_image("a/b", "v1.0")
    assert resolve(registry, **options).digest == digest
    assert registry.requests[0][1] is None


@pytest.mark.parametrize("auth, login, options, words", [
    ("bearer", True, {}, ("refuses to show", "without credentials", "a/b:v1.0")),
    ("bearer", True, {"username": "ann", "password": "wr0ng"}, ("refuses to show", "as ann")),
    ("basic", False, {}, ("asks for credentials",)),
    ("basic", False, {"username": "ann", "password": "wr0ng"}, ("refuses to show",)),
])
def test_wrong_credentials(registry, auth, login, options, words):
    registry.auth, registry.login = auth, login
    registry.put_image("a/b", "v1.0")
    message = refusal(registry, **options)
    for word in words:
        assert word in message
    assert "wr0ng" not in message


def refusal(server, image=IMAGE, **options) -> str:
    with pytest.raises(FleetError) as error:
        resolve(server, image, **options)
    return str(error.value)


@pytest.mark.parametrize("image, words", [
    (Image("quay.io/a/b", "v2.0"), ("no such tag", "quay.io/a/b:v2.0")),
    (Image("quay.io/a/c", "v1.0"), ("no such image",)),
    (Image("quay.io/a/b", "latest"), ("exact version", "latest")),
    (Image("quay.io/a/b", ""), ("exact version",)),
    (Image("quay.io/a/b", "a:b"), ("exact version",)),
    (Image("quay.io/A B", "v1"), ("not usable", "quay.io/A B")),
])
def test_images_that_are_not_there(registry, image, words):
    registry.put_image("a/b", "v1.0")
    message = refusal(registry, image)
    for word in words:
        assert word in message


@pytest.mark.parametrize("fault, words", [
    ((403, b"{}"), ("refuses to show", "HTTP 403")),
    ((429, b"{}"), ("limits", "mirror")),
    ((500, b'{"errors": [{"code": "UNKNOWN"}]}'), ("failed", "HTTP 500 UNKNOWN")),
    ((503, b"<html>"), ("HTTP 503",)),
    ((200, b"<html>hello"), ("something else than JSON", "<html>hello")),
    ((200, b"[]"), ("something else than JSON",)),
    ((200, b'{"mediaType": "application/vnd.docker.distribution.manifest.v1+json"}'), ("unknown type", "v1+json")),
])
def test_bad_answers(registry, fault, words):
    registry.fault = fault
    message = refusal(registry)
    for word in words:
        assert word in message


def test_a_configuration_with_another_digest_is_refused(registry):
    digest = registry.put_blob("a/b", {"os": "linux"})
    registry.put("a/b", "v1.0", {"config": {"digest": digest}}, registry_server.MANIFEST)
    registry.bodies[f"/v2/a/b/blobs/{digest}"] = (b'{"os": "evil"}', "application/octet-stream")
    assert "does not have the digest" in refusal(registry)


def test_a_manifest_without_configuration_is_refused(registry):
    registry.put("a/b", "v1.0", {}, registry_server.MANIFEST)
    assert "names no configuration" in refusal(registry)


def test_tls(tls_files):
    with registry_server.running(tls_files) as server:
        server.auth, digest = "bearer", server.put_image("a/b", "v1.0")
        assert resolve(server, ca_path=str(tls_files[0])).digest == digest
        assert "not trusted" in refusal(server) and "registry_ca" in refusal(server)
        server.realm = "http://127.0.0.1:1/token"
        assert "without TLS" in refusal(server, ca_path=str(tls_files[0]))


def test_plain_http_must_be_said(registry):
    with pytest.raises(FleetError, match="http:// before its address"):
        _oci.resolve(IMAGE, Registry(registry.address.removeprefix("http://")))


def test_nobody_there():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(FleetError, match="cannot be reached") as error:
            _oci.resolve(IMAGE, Registry(address))
    assert "Connection refused" in str(error.value)


@pytest.mark.parametrize("address", ["ftp://x", "https://", "mirror 5000", "http://https://x"])
def test_a_bad_address(address):
    with pytest.raises(FleetError, match=f"got {address}. Give host:port"):
        _oci.resolve(IMAGE, Registry(address))


def test_the_password_is_not_printed():
    with pytest.raises(FleetError) as error:
        _oci.split_address("https://ann:pa55word@mirror:5000")
    assert "got mirror:5000." in str(error.value) and "pa55word" not in str(error.value)
    assert "pa55word" not in repr(Registry(password="pa55word"))
