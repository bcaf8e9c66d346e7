from __future__ import annotations

import json
import math
import random
import re
import struct
import tracemalloc
from typing import Any

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _gguf, _gguf_tensors
from gguf_writer import Tensor, Typed, dense, dense_tensors, header, string, value

TINY = dense()
BIG = dense(vocabulary=20_000)


def raw(keys: Any = None, tensors: Any = (), pad: int = 1 << 20, **more: Any) -> bytes:
    """A header and `pad` bytes that stand for tensor data."""
    return header(TINY if keys is None else keys, tensors, **more) + b"\0" * pad


def preamble(version: int = 3, tensors: int = 0, keys: int = 1) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys)


def with_key(name: str, item: Any) -> bytes:
    return raw({**TINY, name: item})


def read(data: bytes, exact: bool = True, **limits: Any) -> _gguf.Header:
    return _gguf.read_header(_gguf.BytesSource(data), _gguf.Limits(**limits), exact=exact)


def test_reads_what_the_planner_needs() -> None:
    found = read(raw(tensors=dense_tensors(), keys=dense(attention__sliding_window=512, attention__causal=False, pooling_type=1)))
    assert (found.architecture, found.name, found.license, found.file_type, found.alignment) == ("llama", "tiny", "mit", 15, 32)
    assert (found.vocab_size, found.tokenizer_model, found.context_length, found.complete) == (64, "gpt2", 4096, True)
    assert (found.causal, found.pooling_type, found.get("attention.sliding_window")) == (False, 1, 512)
    assert found.has_chat_template and len(found.chat_template_sha256 or "") == 64
    assert (found.get("block_count"), found.get("no_such"), found.get("no_such", 7)) == (2, None, 7)


def test_tensor_infos_are_summed_by_type_role_and_rows() -> None:
    tensors = dense_tensors() + [Tensor("blk.0.ffn_up_exps.weight", (256, 12, 4), "Q4_K"), Tensor("blk.0.ffn_down.weight", (256, 9), "Q4_K")]
    groups = {(group.type, group.role, group.rows_divisor): (group.count, group.bytes) for group in read(raw(tensors=tensors)).tensors or ()}
    assert groups == {
        ("Q4_K", "matrix", 32): (4, 2 * (512 + 256) * 144), ("Q4_K", "matrix", 1): (1, 9 * 144), ("Q4_K", "experts", 4): (1, 48 * 144),
        ("Q6_K", "embedding", 32): (1, 64 * 210), ("Q6_K", "output", 32): (1, 64 * 210), ("F32", "other", 1): (2, 2048)}


def nextn(architecture: str) -> _gguf.Header:
    return read(raw(tensors=dense_tensors(layers=3), keys=dense(architecture, layers=3, nextn_predict_layers=1)))


def test_layers_that_only_predict_further_tokens_have_a_role_of_their_own() -> None:
    groups = {(group.type, group.role): group.count for group in nextn("glm4moe").tensors or ()}
    assert groups == {("Q4_K", "matrix"): 4, ("Q4_K", "nextn"): 2, ("F32", "other"): 2, ("F32", "nextn"): 1, ("Q6_K", "embedding"): 1, ("Q6_K", "output"): 1}


def test_an_array_of_experts_in_use_is_read() -> None:
    assert read(with_key("llama.expert_used_count", Typed("u32", [2, 4]))).get("expert_used_count") == [2, 4]


def test_an_embedding_without_an_output_matrix_is_tied() -> None:
    roles = {group.role for group in read(raw(tensors=dense_tensors(tied=True))).tensors or ()}
    assert "tied" in roles and "embedding" not in roles


@pytest.mark.parametrize("item, want", [
    (Typed("u8", 3), 3), (Typed("i8", 3), 3), (Typed("u16", 3), 3), (Typed("i16", 3), 3), (Typed("u32", 3), 3), (Typed("i32", 3), 3),
    (Typed("u64", 3), 3), (Typed("i64", 3), 3), (True, True), ([1, 0, 2], [1, 0, 2]), ([True, False], [True, False]),
    (Typed("i32", [1, 2]), [1, 2]), (Typed("u64", [5]), [5]), (Typed("u8", [1, 0]), [1, 0])])
def test_every_number_type_and_per_layer_arrays(item: Any, want: Any) -> None:
    found = read(with_key("llama.attention.sliding_window_pattern", item)).get("attention.sliding_window_pattern")
    assert found == want and type(found) is type(want)


def test_keys_of_another_architecture_and_unknown_ones_are_left_out() -> None:
    found = read(raw({**TINY, "qwen3.block_count": 99, "llama.future.key": 1, "odd": [1.5, 2.5], "x.y": "text"}))
    assert found.get("block_count") == 2 and set(found.parameters) <= _gguf.PARAMETERS


def test_the_architecture_may_come_last() -> None:
    keys = {name: item for name, item in TINY.items() if name != "general.architecture"}
    assert read(raw({**keys, "general.architecture": "llama"})).get("block_count") == 2


def test_header_goes_through_json_and_is_small() -> None:
    found = read(raw(BIG, dense_tensors()))
    text = json.dumps(found.as_dict())
    assert _gguf.Header.from_dict(json.loads(text)) == found
    assert len(text) < 2_000 and "t19999" not in text
    plan = read(raw(BIG), exact=False)
    assert _gguf.Header.from_dict(plan.as_dict()) == plan


@pytest.mark.parametrize("change, text", [({"schema": 99}, "unknown schema"), ({"surprise": 1}, "damaged"), ({"tensors": [{"type": 1}]}, "damaged")])
def test_a_damaged_stored_header_is_a_sentence(change: dict[str, Any], text: str) -> None:
    with pytest.raises(_gguf.GgufError, match=text):
        _gguf.Header.from_dict({**read(raw()).as_dict(), **change})


def test_plan_mode_stops_at_the_vocabulary_and_exact_mode_does_not() -> None:
    data = raw(BIG, dense_tensors(vocabulary=64))
    plan, exact = read(data, exact=False), read(data)
    assert (plan.bytes_read, plan.complete, plan.vocab_size, plan.file_type, plan.has_chat_template) == (65_536, False, 20_000, None, None)
    assert plan.tensors is None and plan.parameters == exact.parameters
    assert (exact.complete, exact.file_type, exact.has_chat_template) == (True, 15, True)


def test_plan_mode_reads_on_until_the_essential_keys_are_known() -> None:
    late = {name: item for name, item in BIG.items() if not name.endswith("embedding_length")}
    found = read(raw({**late, "llama.embedding_length": 256}), exact=False)
    assert found.get("embedding_length") == 256 and found.bytes_read > 65_536


def test_plan_mode_of_a_short_header_is_complete() -> None:
    found = read(raw(), exact=False)
    assert found.complete and found.tensors is None and found.has_chat_template


@pytest.mark.parametrize("data, text, where", [
    (b"", "ends inside its header", "byte 0, magic"),
    (b"GG", "ends inside its header", "magic"),
    (b"PK\3\4" + b"\0" * 60, "not a GGUF file", "byte 0, magic"),
    (b"GGUF\0\0\0\3" + b"\0" * 60, "big-endian", "byte 4, version"),
    (b"GGUF\0\0\0\2" + b"\0" * 60, "big-endian", "byte 4, version"),
    (b"FUGG\3\0\0\0" + b"\0" * 60, "not a GGUF file", "byte 0, magic"),
    (b"gguf" + b"\0" * 60, "not a GGUF file", "byte 0, magic"),
    (preamble(0), "version is not supported", "byte 4, version"),
    (b"GGUF\3\0\0\0", "ends inside its header", "byte 8, tensor count"),
    (preamble()[:-1], "ends inside its header", "byte 16, key count"),
    (preamble(keys=2) + string("a") + struct.pack("<IB", 0, 1) + string("") + b"\0" * 30, "has no name", "byte 38, key 1"),
    (preamble(1), "version is not supported", "byte 4, version"),
    (preamble(4), "version is not supported", "byte 4, version"),
    (preamble(tensors=1_000_001), "tensor count is over the limit", "byte 8, tensor count"),
    (preamble(tensors=1 << 63), "tensor count is over the limit", "byte 8, tensor count"),
    (preamble(tensors=9), "tensor count does not fit", "byte 8, tensor count"),
    (preamble(keys=65_537), "key count is over the limit", "byte 16, key count"),
    (preamble(keys=1 << 63), "key count is over the limit", "byte 16, key count"),
    (preamble(keys=100) + b"\0" * 100, "key count does not fit", "byte 16, key count"),
    (preamble() + struct.pack("<Q", 257) + b"k" * 400, "length of a key is over", "byte 24, key 0"),
    (preamble() + struct.pack("<Q", 1 << 63) + b"k" * 400, "length of a key is over", "byte 24, key 0"),
    (preamble() + struct.pack("<Q", 200) + b"k" * 20, "key is longer than the file", "byte 24, key 0"),
    (preamble() + string("") + struct.pack("<IQ", 4, 1), "has no name", "byte 24, key 0"),
    (preamble() + string("a.b") + struct.pack("<IQ", 13, 1), "unknown value type", "byte 35, a.b"),
    (preamble() + string("a.b") + struct.pack("<I", 4) + b"\1", "does not fit into the file|ends inside", "a.b|key count"),
    (preamble() + string("a.b") + struct.pack("<IQ", 8, 1 << 40), "length of a string is over", "byte 39, a.b"),
    (preamble() + string("a.b") + struct.pack("<IQ", 8, 1 << 20), "string is longer than the file", "byte 39, a.b"),
    (preamble() + string("a") + struct.pack("<IIQ", 9, 4, 1 << 63), "array is over the limit", "byte 41, a"),
    (preamble() + string("a") + struct.pack("<IIQ", 9, 8, 1 << 63), "array is over the limit", "byte 41, a"),
    (preamble() + string("a") + struct.pack("<IIQ", 9, 4, 4_000_000), "array is longer than the file", "byte 41, a"),
    (preamble() + string("a") + struct.pack("<IIQ", 9, 9, 1) + b"\0" * 64, "Arrays inside arrays", "byte 37, a"),
    (preamble() + string("a") + struct.pack("<IIQIQ", 9, 9, 1 << 63, 9, 1 << 63), "Arrays inside arrays", "byte 37, a"),
    (preamble() + string("a") + struct.pack("<IIQ", 9, 0, 4_000_001) + b"\0" * 64, "array is over the limit", "byte 41, a"),
    (preamble() + string("a") + struct.pack("<IIQ", 9, 8, 9) + b"\0" * 64, "array is longer than the file", "byte 41, a"),
    (preamble() + string("a") + struct.pack("<IIQ", 9, 77, 1) + b"\0" * 64, "unknown element type", "byte 37, a"),
    (preamble() + string("a") + struct.pack("<IIQQ", 9, 8, 2, 1 << 50) + b"\0" * 64, "length of a string is over", "byte 49, a"),
    (raw([*TINY.items(), ("general.name", "again")]), "occurs twice", "general.name"),
    (raw({"general.name": "x"}), "does not say its architecture", "byte 57, keys, general.architecture"),
    (raw({"general.architecture": "a.b/c"}), "name of the architecture", "byte 24, general.architecture"),
    (raw({"general.architecture": ""}), "name of the architecture", "byte 24, general.architecture"),
    (raw({"general.architecture": "\x1bllama"}), "name of the architecture", "byte 24, general.architecture"),
    (raw({"general.architecture": "lla\u202ema"}), "name of the architecture", "byte 24, general.architecture"),
    (raw({"general.architecture": "a" * 2_000}), "name of the architecture", "byte 24, general.architecture"),
    (raw({"general.architecture": 5}), "must be a text", "byte 24, general.architecture"),
    (raw({"general.architecture": ["llama"]}), "must be a text", "byte 24, general.architecture"),
    (raw({"general.architecture": [1]}), "must be a text", "byte 24, general.architecture"),
    (with_key("llama.block_count", "many"), "must be a whole number", "llama.block_count"),
    (with_key("llama.block_count", 5_000), "number of layers is over", "llama.block_count"),
    (with_key("llama.block_count", [1, 2]), "one number, not an array", "byte 143, llama.block_count"),
    (with_key("llama.block_count", ["2"]), "one number, not an array", "byte 143, llama.block_count"),
    (with_key("llama.block_count", True), "must be a whole number", "byte 143, llama.block_count"),
    (with_key("llama.context_length", [4096]), "one number, not an array", "byte 176, llama.context_length"),
    (with_key("llama.pooling_type", [1]), "one number, not an array", "byte 1251, llama.pooling_type"),
    (with_key("llama.attention.head_count_kv", ["2"]), "must be a whole number", "byte 333, llama.attention.head_count_kv"),
    (with_key("llama.attention.head_count_kv", [True]), "must be a whole number", "byte 333, llama.attention.head_count_kv"),
    (with_key("llama.attention.head_count_kv", Typed("i32", [-1])), "must be a whole number", "byte 333, llama.attention.head_count_kv"),
    (with_key("llama.attention.head_count_kv", Typed("u32", [])), "per-layer array is empty", "byte 378, llama.attention.head_count_kv"),
    (with_key("llama.attention.causal", "no"), "must be a whole number", "byte 1251, llama.attention.causal"),
    (with_key("llama.rope.scaling.type", 1), "must be a text", "byte 1251, llama.rope.scaling.type"),
    (with_key("llama.rope.scaling.factor", "2"), "must be a whole number", "byte 1251, llama.rope.scaling.factor"),
    (with_key("general.name", 1), "must be a text", "general.name"),
    (with_key("general.license", ["mit"]), "must be a text", "general.license"),
    (with_key("general.file_type", 1.5), "must be a whole number", "general.file_type"),
    (with_key("general.file_type", [15]), "must be a whole number", "general.file_type"),
    (with_key("general.quantization_version", Typed("i32", -2)), "must be a whole number", "general.quantization_version"),
    (with_key("tokenizer.ggml.tokens", "hello"), "vocabulary must be an array of texts", "byte 451, tokenizer.ggml.tokens"),
    (with_key("tokenizer.ggml.tokens", 64), "vocabulary must be an array of texts", "byte 451, tokenizer.ggml.tokens"),
    (with_key("tokenizer.ggml.tokens", [1, 2]), "vocabulary must be an array of texts", "byte 455, tokenizer.ggml.tokens"),
    (with_key("llama.embedding_length", 1.5), "must be a whole number", "llama.embedding_length"),
    (with_key("llama.embedding_length", Typed("i32", -1)), "must be a whole number", "llama.embedding_length"),
    (with_key("llama.embedding_length", Typed("u64", 1 << 63)), "must be a whole number", "llama.embedding_length"),
    (with_key("llama.attention.head_count_kv", [0] * 5_000), "per-layer array is over", "llama.attention.head_count_kv"),
    (with_key("llama.attention.head_count_kv", Typed("f32", [1.0])), "must be a whole number", "head_count_kv"),
    (with_key("general.alignment", 0), "alignment must be a power of two", "byte 1251, general.alignment"),
    (with_key("general.alignment", 24), "alignment must be a power of two", "byte 1251, general.alignment"),
    (with_key("general.alignment", 1 << 17), "alignment must be a power of two", "byte 1251, general.alignment"),
    (with_key("general.alignment", "32"), "must be a whole number", "byte 1251, general.alignment"),
    (with_key("general.alignment", [32]), "must be a whole number", "byte 1251, general.alignment"),
    (with_key("general.alignment", Typed("u64", 1 << 63)), "alignment must be a power of two", "byte 1251, general.alignment"),
    (with_key("split.no", 1), "Only the first file", "byte 1251, split.no and split.count"),
    (with_key("split.no", "1"), "must be a whole number", "byte 1251, split.no"),
    (with_key("split.count", 1_025), "number of parts is over the limit", "byte 1251, split.count"),
    (with_key("split.count", Typed("u64", 1 << 63)), "number of parts is over the limit", "byte 1251, split.count"),
    (raw({**TINY, "split.no": 3, "split.count": 3}), "number below the number of parts, 3", "byte 1251, split.no"),
    (with_key("split.tensors.count", Typed("i32", -1)), "must be a whole number", "byte 1251, split.tensors.count"),
    (raw(tensors=[Tensor("a", (4,)), Tensor("a", (4,))]), "tensor occurs twice", "tensor 1 a"),
    (raw(tensors=[Tensor("", (4,))]), "tensor has no name", "tensor 0"),
    (raw(tensors=[Tensor("n" * 64, (4,))]), "length of a tensor name is over", "byte 1251, tensor 0"),
    (raw(tensors=[Tensor("a", ())]), "1 to 4 dimensions", "tensor 0 a"),
    (raw(tensors=[Tensor("a", (1, 1, 1, 1, 1))]), "1 to 4 dimensions", "byte 1260, tensor 0 a"),
    (raw(tensors=[Tensor("a", (1,) * 9)]), "1 to 4 dimensions", "byte 1260, tensor 0 a"),
    (raw(tensors=[Tensor("a", (0,))]), "dimension of a tensor", "tensor 0 a"),
    (raw(tensors=[Tensor("a", ((1 << 32) + 1,), offset=0)]), "dimension of a tensor", "tensor 0 a"),
    (raw(tensors=[Tensor("a", (1 << 32, 1 << 32, 1 << 32, 1 << 32), offset=0)]), "behind the end of the file", "tensor data"),
    (raw(tensors=[Tensor("a", (4,), type_number=4)]), "unknown type", "tensor 0 a"),
    (raw(tensors=[Tensor("a", (4,), type_number=1 << 31)]), "unknown type", "tensor 0 a"),
    (raw(tensors=[Tensor("a", (100, 2), "Q4_K")]), "whole Q4_K blocks", "byte 1264, tensor 0 a"),
    (raw(tensors=[Tensor("a", (4,), offset=8)]), "not a multiple of 32", "tensor 0 a"),
    (raw(tensors=[Tensor("a", (32,), offset=0), Tensor("b", (4,), offset=32)]), "tensors overlap", "tensor data"),
    (raw(tensors=[Tensor("a", (4,), offset=1 << 62)]), "behind the end of the file", "byte 1276, tensor data of tensor 0 a"),
    (raw(tensors=[Tensor("a", (4,), offset=(1 << 64) - 32)]), "behind the end of the file", "byte 1276, tensor data of tensor 0 a"),
    (raw(tensors=[Tensor("a", (64,), offset=0), Tensor("b", (64,), offset=0)]), "tensors overlap", "byte 1309, tensor data of tensor 1 b"),
    (raw(tensors=[Tensor("a", (64,), offset=512), Tensor("b", (64,), offset=256), Tensor("c", (96,), offset=224)]), "tensors overlap",
     "byte 1309, tensor data of tensor 1"),
    (raw(tensors=[Tensor("a", (64,), offset=256), Tensor("b", (1024,), offset=0)]), "tensors overlap", "byte 1276, tensor data of tensor 0"),
    (raw(tensors=[Tensor("a", (64,), offset=0)], pad=200), "behind the end of the file", "byte 1276, tensor data of tensor 0"),
    (raw(tensors=dense_tensors(), pad=100), "behind the end of the file", "tensor data"),
])
def test_a_hostile_or_damaged_header_gives_a_sentence(data: bytes, text: str, where: str) -> None:
    with pytest.raises(_gguf.GgufError) as caught:
        read(data)
    assert re.search(text, caught.value.what)
    assert re.search(where, caught.value.where) and caught.value.do
    assert str(caught.value).isprintable() and len(str(caught.value)) < 400


@pytest.mark.parametrize("limits, data, text", [
    ({"total_bytes": 70_000}, raw(BIG), "header is larger than the limit"),
    ({"seconds": -1.0}, raw(BIG), "took too long"),
    ({"kept_bytes": 100}, raw(), "parameters are over the limit"),
    ({"array_items": 10}, raw(), "array is over the limit"),
    ({"string_bytes": 5}, raw(), "length of a string"),
    ({"keys": 3}, raw(), "key count is over"),
    ({"tensors": 1}, raw(tensors=dense_tensors()), "tensor count is over"),
    ({"key_bytes": 5}, raw(), "length of a key is over"),
    ({"tensor_name_bytes": 5}, raw(tensors=dense_tensors()), "length of a tensor name is over"),
    ({"dimension": 100}, raw(tensors=dense_tensors()), "0 to 100|1 to 100"),
    ({"layers": 1}, raw(), "number of layers is over the limit of 1"),
    ({"alignment": 16}, raw(), "power of two up to 16")])
def test_each_limit_holds(limits: dict[str, Any], data: bytes, text: str) -> None:
    with pytest.raises(_gguf.GgufError, match=text):
        read(data, **limits)


def test_control_characters_never_reach_a_message() -> None:
    data = preamble() + string("a\x1b[2J\n\u202eb") + struct.pack("<IQ", 99, 0)
    with pytest.raises(_gguf.GgufError) as caught:
        read(data)
    assert str(caught.value).isprintable()
    assert read(raw({**TINY, "general.name": "a\x1b\x00b"})).name == "ab"


def test_damaged_bytes_end_in_a_header_or_a_sentence() -> None:
    whole, luck = raw(BIG, dense_tensors(), pad=4_000), random.Random(7)
    for _round in range(1_500):
        data = bytearray(whole[:luck.randrange(len(whole))] if luck.random() < 0.3 else whole)
        for _change in range(luck.randrange(1, 6)):
            at = luck.randrange(min(len(data), 700)) if data and luck.random() < 0.8 else luck.randrange(max(1, len(data)))
            data[at:at + 1] = bytes([luck.randrange(256)])
        try:
            read(bytes(data), exact=luck.random() < 0.5)
        except _gguf.GgufError as error:
            assert error.where


def test_fixed_arrays_are_stepped_over_not_read() -> None:
    scores = preamble(keys=4) + string("general.architecture") + value("llama") + string("llama.block_count") + value(1)
    scores += string("tokenizer.ggml.scores") + struct.pack("<IIQ", 9, 6, 3_000_000) + b"\0" * 12_000_000 + string("llama.embedding_length") + value(8)
    found = read(scores, exact=True)
    assert found.get("embedding_length") == 8 and found.bytes_read < 3_000_000


@pytest.mark.parametrize("keys, want", [
    ({name: item for name, item in TINY.items() if not name.startswith("tokenizer")}, {"vocab_size": 0, "has_chat_template": False, "tokenizer_model": None}),
    ({**TINY, "llama.vocab_size": 99}, {"vocab_size": 64}),
    ({"general.architecture": "bert", "bert.vocab_size": 99}, {"vocab_size": 99, "file_type": None, "name": None}),
    ({"general.architecture": "llama"}, {"parameters": {}, "key_count": 1, "alignment": 32, "split_count": 1, "split_no": 0}),
    ({**TINY, "general.alignment": 64}, {"alignment": 64}), ({**TINY, "general.alignment": Typed("u64", 1)}, {"alignment": 1}),
    ({**TINY, "split.count": 0}, {"split_count": 1}), ({**TINY, "tokenizer.chat_template": ""}, {"has_chat_template": False, "chat_template_sha256": None}),
    ({**TINY, "general.name": b"a\xff\xfeb"}, {"name": "a\ufffd\ufffdb"}), ({**TINY, "general.name": "n" * 5_000}, {"name": "n" * 1_024}),
    ({**TINY, "general.languages": ["en", "de"], "general.tags": [], "x": Typed("f64", [0.5]), "y": Typed("bool", [True]), "z": Typed("i8", -1)},
     {"complete": True}),
    ({"general.architecture": "llama", "llama.rope.scaling.factor": float("inf")}, {"parameters": {}}),
    ({"general.architecture": "llama", "llama.rope.scaling.factor": float("nan"), "llama.rope.scaling.type": "yarn"},
     {"parameters": {"rope.scaling.type": "yarn"}}),
    ({"general.architecture": "jamba", "jamba.attention.head_count_kv": [0, 0, 8, 0], "jamba.feed_forward_length": [1, 2, 3, 4]},
     {"parameters": {"attention.head_count_kv": [0, 0, 8, 0], "feed_forward_length": [1, 2, 3, 4]}}),
    ({"general.architecture": "gemma3", "gemma3.attention.causal": 0, "gemma3.attention.recurrent_layers": [True, False]},
     {"parameters": {"attention.causal": False, "attention.recurrent_layers": [True, False]}})])
def test_strange_but_legal_keys(keys: dict[str, Any], want: dict[str, Any]) -> None:
    keys = {name: Typed("string", item) if item == [] else item for name, item in keys.items()}
    found = read(raw(keys))
    assert {name: getattr(found, name) for name in want} == want
    json.dumps(found.as_dict(), allow_nan=False)


@pytest.mark.parametrize("tensors", [
    [], [Tensor("b", (64,), offset=256), Tensor("a", (64,), offset=0)], [Tensor("a", (64,), offset=0), Tensor("b", (64,), offset=4_096)],
    [Tensor("n" * 63, (1,))], [Tensor("a", (1, 1, 1, 1), "F16")], [Tensor("a\x00", (4,)), Tensor("a", (4,))]])
def test_strange_but_legal_tensors(tensors: list[Tensor]) -> None:
    found = read(raw(tensors=tensors))
    assert found.tensor_count == sum(group.count for group in found.tensors or ()) == len(tensors)


def test_names_that_only_look_alike_are_not_the_same() -> None:
    found = read(raw([*TINY.items(), ("general.na\x00me", "fake"), ("llama.block_count\u200b", 99), ("general.architecture\xff", "evil")]))
    assert (found.name, found.architecture, found.get("block_count")) == ("tiny", "llama", 2)
    roles = {group.role for group in read(raw(tensors=[Tensor("token_embd.weight\x00", (4, 4))])).tensors or ()}
    assert roles == {"matrix"}


def test_plan_mode_says_nothing_of_what_it_did_not_read() -> None:
    late = raw({**BIG, "general.alignment": 64, "split.count": 3})
    plan, exact = read(late, exact=False), read(late)
    assert (plan.alignment, plan.split_count, plan.split_no, plan.has_chat_template) == (None, None, None, None)
    assert (exact.alignment, exact.split_count, exact.split_no) == (64, 3, 0)


@pytest.mark.parametrize("name", ["block_count", "attention.head_count"])
def test_plan_mode_reads_a_vocabulary_when_what_it_needs_stands_behind(name: str) -> None:
    keys = {key: item for key, item in BIG.items() if key != f"llama.{name}"}
    found = read(raw({**keys, f"llama.{name}": 7}), exact=False)
    assert found.get(name) == 7 and found.bytes_read > 65_536


def test_plan_mode_goes_on_to_the_vocabulary_behind_other_arrays() -> None:
    keys = {"tokenizer.ggml.scores": [0.0] * 50_000, **BIG}
    assert read(raw(keys), exact=False).vocab_size == 20_000


@pytest.mark.parametrize("mixer", ["ssm.state_size", "wkv.head_size", "shortconv.l_cache"])
def test_plan_mode_knows_models_without_attention(mixer: str) -> None:
    keys = {name: item for name, item in BIG.items() if "head_count" not in name}
    assert read(raw({f"llama.{mixer}": 16, **keys}), exact=False).bytes_read == 65_536


def test_many_tensors_take_little_memory() -> None:
    """At most 32 bytes a name, and a fixed number of places: a million tensors stay below 64 MB."""
    count = 40_000
    head = header({"general.architecture": "llama"}, [])
    infos = b"".join(string(b"%06d" % number) + struct.pack("<IQIQ", 1, 8, 0, 32 * number) for number in range(count))
    source = _gguf.BytesSource(head[:8] + struct.pack("<Q", count) + head[16:] + infos, size=1 << 30)
    tracemalloc.start()
    try:
        found = _gguf.read_header(source, exact=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.tensor_count == count and peak < 48 * count + 256 * _gguf_tensors.SORTED_AT_MOST + 2 * (2 << 20)


def test_many_keys_take_little_memory() -> None:
    """At most 32 bytes a name, however long it is: the most keys there may be leave room for the most tensors."""
    count = 10_000
    head = header({"general.architecture": "llama"}, [])
    keys = b"".join(string(b"%0256d" % number) + struct.pack("<IB", 0, 1) for number in range(count))
    source = _gguf.BytesSource(head[:16] + struct.pack("<Q", 1 + count) + head[24:] + keys)
    tracemalloc.start()
    try:
        found = _gguf.read_header(source, _gguf.Limits(total_bytes=len(source.data)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (found.key_count, found.complete) == (1 + count, True) and peak < 48 * count + 2 * (2 << 20)


def test_tensors_in_no_order_are_sorted_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = [Tensor(f"t{number}", (8,), offset=32 * (99 - number)) for number in range(100)]
    assert read(raw(tensors=tensors)).tensor_count == 100
    monkeypatch.setattr(_gguf_tensors, "SORTED_AT_MOST", 99)
    with pytest.raises(_gguf.GgufError, match="must be in the order of their data"):
        read(raw(tensors=tensors))


@pytest.mark.parametrize("change, field", [
    ({"parameters": "x"}, "parameters"), ({"version": "3"}, "version"), ({"architecture": None}, "architecture"), ({"complete": 1}, "complete"),
    ({"parameters": {"block_count": 1.5}}, "parameters.block_count"), ({"parameters": {"attention.head_count": [None]}}, "parameters.attention.head_count"),
    ({"parameters": {"attention.head_count_kv": math.nan}}, "parameters.attention.head_count_kv"),
    ({"parameters": {"rope.scaling.factor": math.inf}}, "parameters.rope.scaling.factor"),
    ({"tensor_count": True}, "tensor_count"), ({"file_size": 1.5}, "file_size"), ({"name": 5}, "name"),
    ({"tensors": [{"type": "F32", "role": "other", "rows_divisor": 1, "count": "1", "bytes": 4}]}, "count")])
def test_a_stored_header_of_other_types_is_a_sentence(change: dict[str, Any], field: str) -> None:
    with pytest.raises(_gguf.GgufError, match=f"damaged .header.{field}"):
        _gguf.Header.from_dict({**read(raw(tensors=dense_tensors())).as_dict(), **change})
