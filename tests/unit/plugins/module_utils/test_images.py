"""Images on a host, with an engine that is a function."""
from __future__ import annotations

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _images
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError

IMAGE = "mirror:5000/go-skynet/local-ai@sha256:" + "a" * 64


@pytest.mark.parametrize("image", ["local-ai", "local-ai:latest", "quay.io/a/b:v1", "a/b@sha256:123", "a b@sha256:" + "a" * 64])
def test_only_digests(image) -> None:
    with pytest.raises(FleetError, match="not named by its digest"):
        _images.check_reference(image)


def test_digest() -> None:
    _images.check_reference(IMAGE)
    assert _images.digest(IMAGE) == "a" * 64


@pytest.mark.parametrize(("code", "there"), [(0, True), (1, False)])
def test_present(code, there) -> None:
    assert _images.present(lambda argv: (code, "", ""), IMAGE) is there


@pytest.mark.parametrize(("said", "sentence"), [
    ("Error response from daemon: Get https://mirror:5000/v2/: x509: certificate signed by unknown authority", "certificate is not trusted"),
    ("Error response from daemon: manifest for x not found: manifest unknown: manifest unknown", "does not hold this digest"),
    ("Error response from daemon: Get https://mirror:5000/v2/: dial tcp 1.2.3.4:5000: connect: connection refused", "cannot be reached"),
    ("Error response from daemon: Get https://mirror:5000/v2/: dial tcp: lookup mirror: no such host", "cannot be reached"),
    ("Error response from daemon: unauthorized: authentication required", "refuses the host"),
    ("write /var/lib/docker/tmp/x: no space left on device", "disk of the engine is full"),
    ("something new", "could not be pulled"),
    ("", "exit code 1"),
])
def test_a_failed_pull_is_a_sentence(said, sentence) -> None:
    with pytest.raises(FleetError, match=sentence) as error:
        _images.pull(lambda argv: (1, "", said), IMAGE)
    assert IMAGE in str(error.value)
