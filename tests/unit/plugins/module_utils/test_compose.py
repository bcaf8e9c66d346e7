"""Text for and from Docker Compose."""
from __future__ import annotations

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _compose
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(("values", "text"), [
    ({}, ""),
    ({"B": 1, "A": "x y"}, "A='x y'\nB='1'\n"),
    ({"KEY": 'a$b"c\\d#e'}, "KEY='a$b\"c\\d#e'\n"),
])
def test_env_text(values, text) -> None:
    assert _compose.env_text(values) == text


@pytest.mark.parametrize("values", [{"1A": "x"}, {"A B": "x"}, {"A": "hunter2'"}, {"A": "hunter2\nB=1"}])
def test_env_text_refuses_without_telling_the_value(values) -> None:
    with pytest.raises(FleetError) as error:
        _compose.env_text(values)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(("name", "registry", "reference"), [
    ("quay.io/go-skynet/local-ai", "", f"quay.io/go-skynet/local-ai@{DIGEST}"),
    ("quay.io/go-skynet/local-ai", "mirror:5000", f"mirror:5000/go-skynet/local-ai@{DIGEST}"),
    ("docker.io/library/nginx", "mirror:5000/", f"mirror:5000/library/nginx@{DIGEST}"),
    ("docker.io/library/nginx", "mirror/proxy", f"mirror/proxy/library/nginx@{DIGEST}"),
    ("quay.io/a/b", "http://mirror:5000", f"mirror:5000/a/b@{DIGEST}"),
    ("quay.io/a/b", "https://harbor.example.com/quay/", f"harbor.example.com/quay/a/b@{DIGEST}"),
])
def test_image_reference(name, registry, reference) -> None:
    assert _compose.image_reference({"name": name, "version": "v1", "digest": DIGEST}, registry) == reference


@pytest.mark.parametrize("image", [{}, {"name": "quay.io/a/b", "digest": ""}, {"name": "nginx", "digest": DIGEST},
                                   {"name": "quay.io/a/b", "digest": "latest"}])
def test_image_reference_needs_name_and_digest(image) -> None:
    with pytest.raises(FleetError, match="no full name or no digest"):
        _compose.image_reference(image)


@pytest.mark.parametrize("registry", ["ftp://mirror:5000", "https://", "mirror 5000", "http://https://mirror"])
def test_image_reference_refuses_what_is_no_registry(registry) -> None:
    with pytest.raises(FleetError, match=f"registry address is not usable .registry.: got {registry}. Give host:port"):
        _compose.image_reference({"name": "quay.io/a/b", "digest": DIGEST}, registry)


@pytest.mark.parametrize(("secrets", "text"), [
    ([], "key=abcdefgh abcdef"), (["abcdef", "abcdefgh"], "key=******** ********"), (["key"], "key=abcdefgh abcdef"),
])
def test_redact(secrets, text) -> None:
    assert _compose.redact("key=abcdefgh abcdef", secrets) == text
