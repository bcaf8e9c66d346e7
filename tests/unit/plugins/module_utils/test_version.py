"""One version."""
from __future__ import annotations

from pathlib import Path

import yaml
from ansible_collections.localai.fleet.plugins.module_utils._version import VERSION

ROOT = Path(__file__).resolve().parents[4]


def test_the_version_is_that_of_the_collection():
    assert yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"] == VERSION
