"""An explanation is the estimate: same bytes, and arithmetic that gives them."""
from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from ansible_collections.localai.fleet.plugins.module_utils._explain import Term, explain
from ansible_collections.localai.fleet.plugins.module_utils._gguf import Header, TensorGroup
from ansible_collections.localai.fleet.plugins.module_utils._memory import Settings, estimate
from memory_shapes import KNOWN, LLAMA_1B, model

GROUPS = (TensorGroup("Q4_K", "matrix", 32, 9, 1000), TensorGroup("Q6_K", "matrix", 8, 1, 30), TensorGroup("Q8_0", "tied", 32, 1, 34))
MORE = {
    "falcon_h1": model("falcon-h1", 4, 512, 4096, 8, 2, 64, 1000, ssm__inner_size=1024),
    "kimi": model("kimi-linear", 4, 512, 4096, 8, [0, 0, 0, 1], 64, kda__head_dim=64, attention__kv_lora_rank=512, attention__key_length_mla=192),
    "rwkv": model("rwkv7", 2, 512, 2048, wkv__head_size=64), "unknown": model("brand-new", 4, 512, 4096, 8, 2, 64, 1000),
    "two_kinds": model("gemma4", 2, 512, 1024, 8, [1, 4], 512, attention__sliding_window=512, attention__sliding_window_pattern=[False, True],
                       attention__key_length_swa=256, attention__value_length_swa=256, embedding_length_per_layer_input=64),
    "exact": model("llama", 4, 512, 1024, 8, 2, 64, 1000, tensors=GROUPS, file_size=100_000)}
SETTINGS = [
    {}, {"slots": 4}, {"slots": 3, "unified": False, "context": 5000}, {"flash_attention": False}, {"mmap": False, "isa": ("avx2", "amx")}, {"isa": ("avx2",)},
    {"prompt_cache": 1 << 28, "checkpoints": 4, "projector": 99}, {"embeddings": True, "ubatch": 100, "swa_full": True}]


def value_of(expression: str) -> Any:
    return eval(expression, {"__builtins__": {}}, {"max": max, "min": min})  # the expression is our own


@pytest.mark.parametrize("header", {**KNOWN, **MORE}.values(), ids={**KNOWN, **MORE}.keys())
@pytest.mark.parametrize("change", SETTINGS, ids=str)
def test_each_number_follows_from_its_arithmetic(header: Header, change: dict[str, Any]) -> None:
    terms = explain(header, Settings(**change))
    memory = asdict(estimate(header, Settings(**change)))
    sizes = {name: value for name, value in memory.items() if isinstance(value, int) and not isinstance(value, bool)}
    assert {term.name: term.bytes for term in terms if "." not in term.name} == sizes
    for term in terms:
        assert value_of(term.values) == term.bytes, term
        names = {word for word in term.formula.replace("(", " ").replace(")", " ").replace(",", " ").split() if word.isidentifier()} - {"max", "min"}
        assert term.values == term.formula or names, term


def test_formula_and_values_are_of_the_same_form() -> None:
    found = {term.name: term for term in explain(LLAMA_1B, Settings(context=8192, isa=("avx2",)))}
    assert found["kv_full"] == Term("kv_full", 8192 * 16 * 8 * 64 * 4, "cells * streams * layers * (kv_heads * key_length * type_k_bytes + "
                                    "kv_heads * value_length * type_v_bytes)", "8192 * 1 * 16 * (8 * 64 * 2 + 8 * 64 * 2)")
    assert found["kv_full.cells"].formula == "((context + 256 - 1) // 256) * 256"
    assert "feed_forward * rows" in found["compute"].formula and found["anonymous"].formula.startswith("kv_full + kv_window + state")


def test_a_wrong_number_would_be_seen() -> None:
    assert value_of("8192 * 1 * 16 * (8 * 64 * 2 + 8 * 64 * 2)") == 8192 * 16 * 8 * 64 * 4 and value_of("max(1, 2) // 2 * 3 - 1") == 2
