"""Headers that are kept: found again only when they are whole and of the same files."""
from __future__ import annotations

import json
from dataclasses import replace

import gguf_writer
import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _headers
from ansible_collections.localai.fleet.plugins.module_utils._gguf import read_header
from ansible_collections.localai.fleet.plugins.module_utils._headers import HeaderCache
from ansible_collections.localai.fleet.plugins.module_utils._hub import RepoFile


@pytest.fixture
def header(tmp_path):
    gguf_writer.write(tmp_path / "m.gguf", gguf_writer.dense(), gguf_writer.dense_tensors())
    return read_header(str(tmp_path / "m.gguf"), exact=True)


def file(header, digest="ab" * 32):
    return RepoFile("m.gguf", header.file_size, digest)


def test_a_header_is_found_again(tmp_path, header):
    cache = HeaderCache(str(tmp_path / "c"), "https://huggingface.co")
    assert cache.get([file(header)]) is None
    cache.put([file(header)], header)
    assert cache.get([file(header)]) == header
    kept = list((tmp_path / "c/headers/huggingface.co").iterdir())
    assert [path.name for path in kept] == ["ab" * 32 + ".json"] and kept[0].stat().st_mode & 0o77 == 0 and kept[0].parent.stat().st_mode & 0o77 == 0


@pytest.mark.parametrize("spoil", [
    lambda text: text[:-9], lambda text: "", lambda text: "[]", lambda text: text.replace('"llama"', '"qwen2"', 1),
    lambda text: json.dumps({**json.loads(text), "check": "0" * 64}), lambda text: json.dumps({"header": json.loads(text)["header"]}),
])
def test_what_is_damaged_is_not_believed(tmp_path, header, spoil):
    cache = HeaderCache(str(tmp_path / "c"), "https://huggingface.co")
    cache.put([file(header)], header)
    path = next((tmp_path / "c/headers/huggingface.co").iterdir())
    path.write_text(spoil(path.read_text()))
    assert cache.get([file(header)]) is None


def test_a_header_from_before_a_key_was_known_is_read_again(tmp_path, header, monkeypatch):
    cache = HeaderCache(str(tmp_path / "c"), "https://huggingface.co")
    cache.put([file(header)], header)
    monkeypatch.setattr(_headers, "PARAMETERS", _headers.PARAMETERS | {"a.new.key"})
    assert cache.get([file(header)]) is None
    cache.put([file(header)], header)
    assert cache.get([file(header)]) == header


def test_what_is_not_the_same_is_not_found(tmp_path, header):
    cache = HeaderCache(str(tmp_path / "c"), "https://huggingface.co")
    cache.put([file(header)], header)
    assert cache.get([file(header, "cd" * 32)]) is None and cache.get([replace(file(header), size=1)]) is None
    assert cache.get([file(header), file(header)]) is None and cache.get([replace(file(header), sha256=None)]) is None
    assert HeaderCache(str(tmp_path / "c"), "https://mirror.example.com:8443/hf").get([file(header)]) is None


@pytest.mark.parametrize("change", [{"tensors": None}, {"complete": False}, {"file_size": 1}])
def test_what_was_read_in_part_is_not_kept(tmp_path, header, change):
    cache = HeaderCache(str(tmp_path / "c"), "x")
    cache.put([file(header)], replace(header, **change))
    assert not (tmp_path / "c").exists()


def test_a_folder_that_cannot_be_written_keeps_nothing(tmp_path, header):
    (tmp_path / "c").write_text("a file")
    cache = HeaderCache(str(tmp_path / "c"), "x")
    cache.put([file(header)], header)
    assert cache.get([file(header)]) is None


def test_a_digest_is_never_a_path(tmp_path, header):
    cache = HeaderCache(str(tmp_path / "c"), "x")
    cache.put([file(header, "../../evil")], header)
    assert [path.name for path in tmp_path.rglob("*.json")] == []
