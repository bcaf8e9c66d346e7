"""The filter image_reference."""
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.localai.fleet.plugins.filter.image_reference import FilterModule

image_reference = FilterModule().filters()["image_reference"]


def test_reference() -> None:
    image = {"name": "quay.io/a/b", "digest": "sha256:" + "0" * 64}
    assert image_reference(image, "mirror:5000") == f"mirror:5000/a/b@sha256:{'0' * 64}"


def test_error_is_the_engines_sentence() -> None:
    with pytest.raises(AnsibleFilterError, match="no digest"):
        image_reference({"name": "quay.io/a/b"})
