"""Choosing a model's files from a repository's listing."""
from __future__ import annotations

import hashlib

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _hub
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError


def listing(*paths: str) -> list[_hub.RepoFile]:
    return [_hub.RepoFile(path, 100 + index, hashlib.sha256(path.encode()).hexdigest()) for index, path in enumerate(paths)]


SHARDS = tuple(f"Q4_K_M/m-Q4_K_M-0000{n}-of-00003.gguf" for n in (1, 2, 3))
USUAL = ("README.md", ".gitattributes", "m-Q4_K_M.gguf", "m-Q8_0.gguf", "m-UD-Q4_K_M.gguf", "m.i1-Q4_K_M.gguf",
         "m-UD-Q4_K_XL.gguf", "mmproj-F16.gguf", "mtp-m-Q4_K_M.gguf", "imatrix.gguf", "m-DFlash-Q4_K_M.gguf")


@pytest.mark.parametrize("paths, quant, expected", [
    (USUAL, "Q4_K_M", ["m-Q4_K_M.gguf"]),
    (USUAL, "q4_k_m", ["m-Q4_K_M.gguf"]),
    (USUAL, "UD-Q4_K_M", ["m-UD-Q4_K_M.gguf"]),
    (USUAL, "i1-Q4_K_M", ["m.i1-Q4_K_M.gguf"]),
    (USUAL, "Q4_K_XL", ["m-UD-Q4_K_XL.gguf"]),
    (("m.i1-Q4_K_M.gguf", "m.i1-Q4_K_S.gguf"), "Q4_K_M", ["m.i1-Q4_K_M.gguf"]),
    (tuple(reversed(SHARDS)), "Q4_K_M", list(SHARDS)),
    ((*SHARDS, "m-Q4_K_M.gguf"), "Q4_K_M", ["m-Q4_K_M.gguf"]),
    ((*SHARDS, "UD-Q4_K_M/m-UD-Q4_K_M-00001-of-00001.gguf"), "UD-Q4_K_M", ["UD-Q4_K_M/m-UD-Q4_K_M-00001-of-00001.gguf"]),
])
def test_by_quant(paths, quant, expected):
    assert [file.path for file in _hub.choose(listing(*paths), quant)] == expected


@pytest.mark.parametrize("paths, file, expected", [
    (USUAL, "m-Q8_0.gguf", ["m-Q8_0.gguf"]),
    (USUAL, "m-DFlash-Q4_K_M.gguf", ["m-DFlash-Q4_K_M.gguf"]),
    (("phi-q4.gguf",), "phi-q4.gguf", ["phi-q4.gguf"]),
    (SHARDS, SHARDS[1], list(SHARDS)),
])
def test_by_path(paths, file, expected):
    assert [entry.path for entry in _hub.choose(listing(*paths), "Q4_K_M", file=file)] == expected


def test_copies_of_the_same_bytes_are_one():
    files = [_hub.RepoFile("a/m-Q4_K_M.gguf", 5, "ab" * 32), _hub.RepoFile("b/n-Q4_K_M.gguf", 5, "ab" * 32)]
    assert _hub.choose(files, "Q4_K_M") == (files[0],)


def test_quants_are_what_one_may_ask_for():
    assert _hub.quants(listing(*USUAL)) == ["Q4_K_M", "Q8_0", "UD-Q4_K_M", "UD-Q4_K_XL", "i1-Q4_K_M"]


@pytest.mark.parametrize("paths, quant, file, words", [
    (("README.md",), "Q4_K_M", None, ("no GGUF file", "o/r")),
    (USUAL, "Q6_K", None, ("no Q6_K", "Q4_K_M, Q8_0, UD-Q4_K_M, UD-Q4_K_XL, i1-Q4_K_M")),
    (("phi-q4.gguf", "phi-Q8_0.gguf"), "Q4_K_M", None, ("Q8_0; without a quant in the name phi-q4.gguf",)),
    (("mmproj-F16.gguf",), "F16", None, ("only projectors",)),
    (("a-Q4_K_M.gguf", "b-Q4_K_M.gguf"), "Q4_K_M", None, ("Several", "a-Q4_K_M.gguf, b-Q4_K_M.gguf", "file")),
    (("m-UD-Q4_K_M.gguf", "m.i1-Q4_K_M.gguf"), "Q4_K_M", None, ("Several",)),
    (SHARDS[:2], "Q4_K_M", None, ("lacks shards", "2 of 3, without 3")),
    (USUAL, "Q4_K_M", "x.gguf", ("no such file", "x.gguf", "m-Q8_0.gguf")),
])
def test_refusals_are_sentences(paths, quant, file, words):
    with pytest.raises(FleetError) as error:
        _hub.choose(listing(*paths), quant, file=file, where="o/r")
    for word in words:
        assert word in str(error.value)


def test_long_lists_are_cut():
    with pytest.raises(FleetError, match="and 8 more"):
        _hub.choose(listing(*(f"m{n:02}-Q4_K_M.gguf" for n in range(20))), "Q4_K_M")


def test_a_file_without_digest_is_refused():
    with pytest.raises(FleetError, match="states no sha256"):
        _hub.choose([_hub.RepoFile("m-Q4_K_M.gguf", 5, None)], "Q4_K_M")
