"""Copying an image into a registry: what is sent, in which order, and that it is the same every time."""
from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Iterator

import pytest
import requests

from tests.lab import push
from tests.lab.recipe import LabError

CONFIG, LAYER = b'{"os": "linux"}', b"layer" * 1000


class Image:
    """What `docker save` gives for an image of one layer."""

    def save(self, chunk_size: int) -> Iterator[bytes]:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for name, content in (("a/layer.tar", LAYER), ("c.json", CONFIG), ("manifest.json", b'[{"Config": "c.json", "Layers": ["a/layer.tar"]}]')):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        yield out.getvalue()


class Registry:
    """Answers as a registry does, in place of the HTTP session."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.uploads = 0

    def request(self, method: str, url: str, timeout: float, **more: Any) -> Any:
        kind, _slash, name = url.partition("/v2/web/")[2].rpartition("/")
        if method == "POST":
            self.uploads += 1
            return answer(202, Location="https://r:5000/v2/web/blobs/uploads/1")
        if method == "PUT" and kind == "blobs/uploads":
            self.blobs[more["params"]["digest"]] = more["data"].read()
            return answer(201)
        if method == "PUT":
            self.manifests[name] = more["data"]
            return answer(201, **{"Docker-Content-Digest": digest(more["data"])})
        if kind == "blobs":
            return answer(200 if name in self.blobs else 404)
        return answer(200, **{"Docker-Content-Digest": digest(self.manifests[name])}) if name in self.manifests else answer(404)


def answer(status: int, **headers: str) -> Any:
    return SimpleNamespace(status_code=status, headers=headers, text="")


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.fixture
def target(tmp_path: Path) -> tuple[push.Repository, Registry]:
    repository, registry = push.Repository("r:5000", "web", tmp_path / "ca.crt"), Registry()
    repository._session = registry  # type: ignore[assignment]
    return repository, registry


def test_image_arrives_whole(target: tuple[push.Repository, Registry]) -> None:
    repository, registry = target
    pushed = repository.push(Image(), "1")  # type: ignore[arg-type]
    manifest = json.loads(registry.manifests["1"])
    assert pushed == repository.digest("1")
    assert registry.blobs[manifest["config"]["digest"]] == CONFIG
    assert gzip.decompress(registry.blobs[manifest["layers"][0]["digest"]]) == LAYER
    assert [part["size"] for part in (manifest["config"], *manifest["layers"])] == [len(CONFIG), len(registry.blobs[manifest["layers"][0]["digest"]])]


def test_second_push_sends_no_blob_and_has_the_same_digest(target: tuple[push.Repository, Registry]) -> None:
    repository, registry = target
    digests = {repository.push(Image(), "1"), repository.push(Image(), "1")}  # type: ignore[arg-type]
    assert (len(digests), registry.uploads) == (1, 2)


def test_tag_that_is_not_there(target: tuple[push.Repository, Registry]) -> None:
    assert target[0].digest("9") == ""


def test_gzip_stays_as_it_is(tmp_path: Path) -> None:
    packed = gzip.compress(b"x")
    assert push.compress(io.BytesIO(packed), tmp_path / "out").read_bytes() == packed


def test_refusal_is_a_sentence(target: tuple[push.Repository, Registry], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target[1], "request", lambda *_a, **_k: answer(507))
    with pytest.raises(LabError, match="registry answered 507 to HEAD"):
        target[0].digest("1")


def test_silence_is_a_sentence(target: tuple[push.Repository, Registry], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_more: object) -> None:
        raise requests.ConnectionError("refused")

    monkeypatch.setattr(target[1], "request", refuse)
    with pytest.raises(LabError, match="does not answer HEAD"):
        target[0].digest("1")
