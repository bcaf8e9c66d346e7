"""What a list's item says; hostile ones say little."""
from __future__ import annotations

from datetime import datetime, timezone

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _shape
from ansible_collections.localai.fleet.plugins.module_utils._listing import (
    EXPAND, RUNNABLE, Listing, license_of, listing, other_family, plain_name, quantized_from, served_name, size_in_name)

from tests.lab import hub as lab

FULL = {
    "id": "bartowski/Qwen_Qwen3-4B-GGUF", "sha": "ab" * 20, "gated": False, "private": False, "downloads": 7, "likes": 3, "trendingScore": 1.5,
    "createdAt": "2026-10-01T12:00:00.000Z", "pipeline_tag": "text-generation",
    "tags": ["gguf", "en", "base_model:Qwen/Qwen3-4B", "base_model:quantized:Qwen/Qwen3-4B"],
    "cardData": {"license": "apache-2.0", "language": ["de", "en"], "base_model": "Qwen/Qwen3-4B"},
    "siblings": [{"rfilename": "a-Q4_K_M.gguf"}, {"rfilename": "README.md"}],
    "gguf": {"total": 4 * 10 ** 9, "architecture": "qwen3", "chat_template": "{% if tools %}<think>", "totalFileSize": 8}}


def test_an_item_is_taken_apart():
    found = listing(FULL)
    assert found == Listing(
        repository="bartowski/Qwen_Qwen3-4B-GGUF", commit="ab" * 20, downloads=7, likes=3, created=datetime(2026, 10, 1, 12, tzinfo=timezone.utc),
        pipeline="text-generation", tags=tuple(FULL["tags"]), license="apache-2.0", languages=("de", "en"), base_models=("Qwen/Qwen3-4B",),
        paths=("a-Q4_K_M.gguf", "README.md"), architecture="qwen3", parameters=4 * 10 ** 9, parsed_bytes=8, template="{% if tools %}<think>")
    assert (found.owner, found.base, found.group, found.labels) == ("bartowski", "Qwen/Qwen3-4B", "qwen34b", {"Q4_K_M"})
    assert found.categories == ("chat", "reasoning", "tools")


@pytest.mark.parametrize("item", [None, 1, [], {}, {"id": 1}, {"id": "no-owner"}, {"id": "a/../b"}, {"id": "a/b/c"}, {"id": "a/b\n"}])
def test_what_is_no_item(item):
    assert listing(item) is None


def test_a_hostile_item_says_little():
    bad = {"id": "a/b", **{key: {"x": [1]} for key in (*EXPAND, "_id")}, "siblings": [1, {"rfilename": 2}, {"rfilename": "x\x1b[31m.gguf"}],
           "tags": [1, "gguf", None],
           "likes": True, "downloads": float("inf"), "createdAt": "never", "gguf": {"total": float("nan"), "architecture": 7, "chat_template": ["x"]}}
    found = listing(bad)
    assert found == Listing(repository="a/b", tags=("gguf",), paths=("", "x[31m.gguf"))
    assert listing({"id": "a/b", "siblings": 7}) == Listing(repository="a/b")
    assert listing({"id": "a/b", "gguf": {"total": 1e159}}).parameters == int(1e159)


@pytest.mark.parametrize("name, plain, served", [
    ("bartowski/Qwen_Qwen3-30B-A3B-GGUF", "Qwen3-30B-A3B", "qwen3-30b-a3b"), ("mradermacher/X-14B-i1-GGUF", "X-14B", "x-14b"),
    ("me/Llama-3.2-1B-Instruct-Q4_K_M-GGUF", "Llama-3.2-1B-Instruct", "llama-3.2-1b-instruct"),
    ("a/gemma-3-1b-it-qat-q4_0-gguf", "gemma-3-1b-it-qat", "gemma-3-1b-it-qat"),
    ("a/MN-12B-GGUF-IQ-Imatrix", "MN-12B-GGUF-IQ", "mn-12b-gguf-iq"), ("a/__--GGUF", "__-", "model"), ("a/" + "x" * 90, "x" * 90, "x" * 63),
])
def test_names(name, plain, served):
    assert (plain_name(name), served_name(name)) == (plain, served)


@pytest.mark.parametrize("name, size", [("Qwen3-30B-A3B", 30 * 10 ** 9), ("x-350M", 350 * 10 ** 6), ("Phi-3-mini-4k", None), ("qwen2.5-1.5b", 1_500_000_000),
                                        ("x", None), ("ab7b", None)])
def test_sizes_in_names(name, size):
    assert size_in_name(name) == size


@pytest.mark.parametrize("name, architecture, family", [
    ("gemma-4-12b", "llama", "gemma"), ("gemma-4-12b", "gemma4", None), ("Qwen3-8B", "qwen3", None), ("Qwen3-8B", "llama", "qwen"),
    ("R1-Distill-Qwen-7B", "qwen2", None),
    ("R1-Distill-Llama-8B", "llama", None), ("TinyLlama", "qwen2", None), ("llamafile-x", "qwen2", None), ("Llama-3-Nemotron", "deci", None),
    ("gpt-oss-20b", "llama", "gpt-oss"),
    ("Llama-Qwen-mix", "qwen2", None), ("phi-2", "phi2", None), ("Phi-4", "llama", None), ("dolphin", "llama", None),
])
def test_families(name, architecture, family):
    assert other_family(name, architecture) == family


@pytest.mark.parametrize("facts, expected", [
    ({"repository": "a/bge-Reranker-GGUF"}, ("rerank",)), ({"pipeline": "text-ranking"}, ("rerank",)), ({"architecture": "nomic-bert"}, ("embedding",)),
    ({"pipeline": "sentence-similarity"}, ("embedding",)), ({"repository": "a/Qwen3-Embedding-GGUF"}, ("embedding",)),
    ({"repository": "a/Qwen2.5-Coder-7B-GGUF"}, ("code",)), ({"repository": "a/Codestral-GGUF"}, ("code",)), ({"repository": "a/Decoder-GGUF"}, ()),
    ({"repository": "a/WizardCoder-GGUF"}, ("code",)),
    ({"repository": "a/R1-Distill-GGUF"}, ("reasoning",)), ({"paths": ("mmproj-F16.gguf",)}, ("vision",)), ({"pipeline": "image-text-to-text"}, ("vision",)),
    ({"tags": ("conversational", "function-calling")}, ("chat", "tools")), ({}, ()),
])
def test_categories(facts, expected):
    assert Listing(**{"repository": "a/b", **facts}).categories == expected


@pytest.mark.parametrize("card, tags, expected", [
    ({}, ("base_model:a/x", "base_model:quantized:a/y"), ("a/y",)), ({"base_model": ["b/z", "a/Tiny-1B"]}, (), ("a/Tiny-1B",)), ({}, (), ()),
    ({"base_model": 7}, (), ()),
    ({"base_model": "meta/Llama-8B"}, ("base_model:finetune:meta/Llama-8B",), ()),
    ({}, ("base_model:quantized:a/x", "base_model:quantized:a/y"), ("a/x", "a/y")),
])
def test_bases(card, tags, expected):
    assert quantized_from("acme/tiny_1b-GGUF", card, tags) == expected


def test_models_trained_from_one_base_are_no_re_uploads_of_it():
    base = {"cardData": {"base_model": "meta-llama/Llama-3.1-8B"},
            "tags": ["base_model:meta-llama/Llama-3.1-8B", "base_model:finetune:meta-llama/Llama-3.1-8B"]}
    first, second = (listing({"id": name, **base}) for name in ("a/Hermes-8B-GGUF", "b/Dolphin-8B-GGUF"))
    assert (first.group, second.group, first.base) == ("hermes8b", "dolphin8b", "Hermes-8B")


def test_a_license_of_another_type_is_none():
    assert license_of({"license": {"x": 1}}, ()) is None and license_of({"license": [7]}, ("license:mit",)) == "mit"


def test_what_runs_is_what_the_shapes_know():
    assert {"llama", "qwen3moe", "gemma3", "gpt-oss", "nomic-bert", "mamba2", "lfm2"} <= RUNNABLE and not {"clip", "whisper", "dream", "eagle3"} & RUNNABLE
    assert RUNNABLE - {"deepseek4"} <= {*_shape.DENSE, *_shape.WINDOWED, *_shape.RECURRENT, *_shape.HYBRID, *_shape.ENCODERS}


def test_the_lab_s_hub_knows_every_key_that_is_asked_for():
    assert set(EXPAND) <= lab.EXPAND
