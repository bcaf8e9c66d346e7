"""Memory against what llama.cpp's own buffer lines said, in MiB."""
from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _memory
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.module_utils._gguf import Header, TensorGroup
from ansible_collections.localai.fleet.plugins.module_utils._shape import shape_of
from memory_shapes import (BERT, DEEPSEEK_LITE, GEMMA_1B, GEMMA_270M, GEMMA_4B, GPT_OSS, LLAMA_1B, LLAMA_8B, MAMBA, OLMOE, PHI_2, QWEN35, QWEN_06B, QWEN_4B,
                           QWEN_8B, QWEN_30B, model)

MIB = 1 << 20
X86 = ("sse42", "avx", "avx2")
ARM = ("neon", "dotprod", "i8mm")


def mib(value: float) -> float:
    return value / MIB


def run(header: Header, context: int = 4096, slots: int = 1, **more: Any) -> _memory.Memory:
    return _memory.estimate(header, _memory.Settings(context=context, slots=slots, isa=X86, **more))


@pytest.mark.parametrize("header, context, slots, more, full, window, compute, output", [
    (GEMMA_270M, 4096, 1, {}, 12, 15, 23.28, 1.0),
    (GEMMA_270M, 4096, 1, {"ubatch": 128}, 12, 11.25, 5.76, 1.0),
    (GEMMA_270M, 4096, 4, {}, 12, 37.5, 24.8, 4.0),
    (GEMMA_270M, 4096, 4, {"unified": False}, 12, 60, 20.3, 4.0),
    (GEMMA_270M, 32_768, 1, {}, 96, 15, 51.28, 1.0),
    (GEMMA_270M, 32_768, 1, {"swa_full": True}, 96, 480, 82.28, 1.0),
    (GEMMA_270M, 32_768, 1, {"type_k": "q8_0", "type_v": "q8_0"}, 51, 7.97, 51.8, 1.0),
    (LLAMA_1B, 8192, 1, {}, 256, 0, 76.02, 0.49),
    (PHI_2, 2048, 1, {}, 640, 0, 47.02, 0.20),
    (QWEN_8B, 8192, 1, {}, 1152, 0, 120.02, 0.58),
    (QWEN_30B, 8192, 1, {}, 768, 0, 96.02, 0.58),
    (GPT_OSS, 8192, 1, {}, 192, 18, 104.4, 0.77),
    (GPT_OSS, 8192, 4, {}, 192, 24, 104.7, 3.07),
    (GPT_OSS, 8192, 4, {"unified": False}, 192, 72, 98.4, 3.07),
    (GEMMA_4B, 8192, 1, {}, 160, 174, 94.53, 1.0),
    (GEMMA_4B, 8192, 4, {}, 160, 522, 97.5, 4.0),
    (GEMMA_4B, 8192, 4, {"unified": False}, 160, 696, 88.5, 4.0),
    (DEEPSEEK_LITE, 8192, 1, {}, 243, 0, 92.14, 0.39),
    (QWEN_06B, 8192, 1, {}, 896, 0, 36.02, 0.58),
    (QWEN_4B, 8192, 1, {}, 1152, 0, 90.02, 0.58),
    (LLAMA_8B, 16_384, 1, {}, 2048, 0, 140.02, 0.49),
    (GEMMA_1B, 16_384, 1, {}, 64, 22, 68.78, 1.0),
    (GEMMA_1B, 16_384, 4, {}, 64, 55, 70.3, 4.0),
    (OLMOE, 4096, 1, {}, 512, 0, 72.02, 0.19),
    (model("qwen3", 40, 5120, 17_408, 40, 8, 128), 8192, 1, {}, 1280, 0, 160.02, 0),
    (model("llama", 80, 8192, 28_672, 64, 8, 128), 8192, 1, {}, 2560, 0, 256.02, 0),
    (QWEN_06B, 8192, 2, {"ubatch": 256}, 896, 0, 18.0, 1.16),
    (QWEN_06B, 8192, 2, {"ubatch": 256, "unified": False}, 896, 0, 16.0, 1.16),
    (LLAMA_8B, 16_384, 2, {"ubatch": 256, "unified": False}, 2048, 0, 66.0, 0.98),
    (model("qwen2moe", 24, 2048, 5632, 16, 16, 128, expert_used_count=4, expert_feed_forward_length=1408), 8192, 1, {}, 1536, 0, 61.02, 0),
    (model("llama", 32, 4096, 6144, 32, 8, 128, expert_used_count=2), 8192, 1, {}, 1024, 0, 120.02, 0),
])
def test_worked_examples(header: Header, context: int, slots: int, more: dict[str, Any], full: float, window: float, compute: float, output: float) -> None:
    found = run(header, context, slots, **more)
    assert mib(found.kv_full) == full and mib(found.kv_window) == pytest.approx(window, abs=0.005)
    assert mib(found.output) == pytest.approx(output, abs=0.01)
    assert compute - 0.06 <= mib(found.compute) <= compute * 1.01 + 0.05


@pytest.mark.parametrize("expert, used, width, measured", [(512, 8, 1536, 71.0), (512, 10, 2048, 98.0), (1280, 6, 3072, 119.0)])
def test_narrow_experts_are_bounded_from_above(expert: int, used: int, width: int, measured: float) -> None:
    header = model("qwen3moe", 4, width, 9999, 16, 4, 128, expert_used_count=used, expert_feed_forward_length=expert)
    assert measured <= mib(run(header, 8192).compute) <= measured * 1.2


@pytest.mark.parametrize("header, context, measured", [
    (LLAMA_1B, 8192, 554), (QWEN_8B, 8192, 580), (QWEN_30B, 8192, 566), (PHI_2, 2048, 167), (DEEPSEEK_LITE, 8192, 332),
    (GPT_OSS, 8192, 1090), (GEMMA_4B, 8192, 184)])
def test_without_flash_attention_never_below_what_was_measured(header: Header, context: int, measured: float) -> None:
    found = mib(run(header, context, flash_attention=False).compute)
    assert measured * 0.997 <= found <= measured * 1.12 + 8


@pytest.mark.parametrize("slots, state", [(1, 3.5625), (4, 14.25)])
def test_recurrent_models_have_state_and_no_cache(slots: int, state: float) -> None:
    found = run(MAMBA, 8192, slots)
    assert (mib(found.state), found.kv_full, found.kv_window) == (state, 0, 0)
    assert found.state == run(MAMBA, 32_768, slots).state


def test_a_hybrid_has_cache_on_its_attention_layers_only() -> None:
    shape = shape_of(QWEN35)
    assert [index for index, layer in enumerate(shape.layers) if layer.kv_heads] == [3, 7, 11, 15, 19, 23]
    found = run(QWEN35, 8192)
    assert found.kv_full == 6 * 8192 * 2 * 512 * 2
    assert mib(_memory.checkpoint_bytes(QWEN35, _memory.Settings(context=8192))) == pytest.approx(19.27, abs=0.01)


@pytest.mark.parametrize("architecture, heads, feed_forward, more, state_layers, cache_layers", [
    ("jamba", [0, 0, 8, 0], 4096, {"ssm__inner_size": 1024}, 3, 1),
    ("granitehybrid", [0, 8, 0, 8], 4096, {"ssm__inner_size": 1024, "ssm__group_count": 1}, 2, 2),
    ("falcon-h1", 2, 4096, {"ssm__inner_size": 1024}, 4, 4),
    ("nemotron_h", [0, 0, 8, 0], [0, 4096, 0, 0], {"ssm__inner_size": 1024}, 2, 1),
    ("lfm2", [0, 8, 0, 8], 4096, {"shortconv__l_cache": 3}, 2, 2),
    ("qwen3next", 2, 4096, {"ssm__inner_size": 1024}, 3, 1),
    ("kimi-linear", [0, 0, 0, 1], 4096, {"kda__head_dim": 64, "attention__kv_lora_rank": 512, "attention__key_length_mla": 192}, 3, 1),
    ("rwkv7", None, 4096, {"wkv__head_size": 64}, 4, 0),
    ("mamba2", None, 0, {"ssm__inner_size": 1024}, 4, 0)])
def test_layers_of_recurrent_families(architecture: str, heads: Any, feed_forward: Any, more: dict[str, Any], state_layers: int, cache_layers: int) -> None:
    header = model(architecture, 4, 512, feed_forward, 8, heads, 64, **more)
    layers = shape_of(header).layers
    assert sum(layer.recurrent for layer in layers) == state_layers
    assert sum(bool(layer.kv_heads) for layer in layers) == cache_layers
    found = run(header)
    assert found.state > 0 and bool(found.kv_full) == bool(cache_layers) and found.compute > 0


def test_lfm2_and_rwkv_state() -> None:
    assert run(model("lfm2", 2, 512, 2048, 8, [0, 8], 64, shortconv__l_cache=3)).state == 4 * 512 * 2
    assert run(model("rwkv7", 2, 512, 2048, wkv__head_size=64), slots=3).state == 3 * 2 * 4 * 512 * 66


@pytest.mark.parametrize("architecture, more, full_layers", [
    ("gemma2", {}, [1, 3, 5, 7]), ("gemma3", {"attention__sliding_window": 512}, [5]), ("gpt-oss", {"attention__sliding_window": 128}, [1, 3, 5, 7]),
    ("cohere2", {"attention__sliding_window": 4096}, [3, 7]), ("smallthinker", {"attention__sliding_window": 4096}, [0, 4]),
    ("gemma3", {"attention__sliding_window": 512, "attention__sliding_window_pattern": 3}, [2, 5]),
    ("gemma3", {"attention__sliding_window": 512, "attention__sliding_window_pattern": 0}, []),
    ("gemma3", {"attention__sliding_window": 512, "attention__sliding_window_pattern": 1}, list(range(8))),
    ("gemma4", {"attention__sliding_window": 512, "attention__sliding_window_pattern": [True, True, False, True] * 2}, [2, 6]),
    ("gemma3", {}, list(range(8))), ("exaone4", {"attention__sliding_window": 4096}, list(range(8))),
    ("phi3", {"attention__sliding_window": 2047}, list(range(8))), ("llama", {"attention__sliding_window": 4096}, list(range(8))),
    ("new-arch", {"attention__sliding_window": 512, "attention__sliding_window_pattern": 2}, list(range(8)))])
def test_which_layers_slide(architecture: str, more: dict[str, Any], full_layers: list[int]) -> None:
    layers = shape_of(model(architecture, 8, 512, 1024, 8, 4, 64, **more)).layers
    assert [index for index, layer in enumerate(layers) if not layer.window] == full_layers


def test_shared_and_predicting_layers_have_no_cache_of_their_own() -> None:
    shared = model("gemma4", 8, 512, 1024, 8, 4, 64, attention__shared_kv_layers=3, attention__sliding_window=512)
    assert sum(bool(layer.kv_heads) for layer in shape_of(shared).layers) == 5
    assert len(shape_of(model("glm4moe", 8, 512, 1024, 8, 4, 64, nextn_predict_layers=1)).layers) == 7
    assert sum(bool(layer.kv_heads) for layer in shape_of(model("gemma3n", 30, 512, 1024, 8, 4, 64)).layers) == 20


def test_window_heads_may_be_smaller() -> None:
    header = model("gemma4", 2, 512, 1024, 8, [1, 4], 512, attention__sliding_window=512, attention__sliding_window_pattern=[False, True],
                   attention__key_length_swa=256, attention__value_length_swa=256)
    found = run(header, 4096)
    assert found.kv_full == 4096 * 1 * 1024 * 2 and found.kv_window == 1024 * 4 * 512 * 2


def test_encoders_have_no_cache_and_no_prompt_cache() -> None:
    found = run(BERT, 512, prompt_cache=256 * MIB, checkpoints=4, embeddings=True)
    assert (found.kv_full, found.prompt_cache, found.checkpoints) == (0, 0, 0)
    assert found.output == 4 * (30_522 + 512 * 384) and found.compute >= 4 * 512 * (1536 + 6 * 384)


@pytest.mark.parametrize("header, context, slots, count, want", [
    (GEMMA_270M, 4096, 1, 4, 4 * 15 * 512 * 1024), (GEMMA_270M, 256, 1, 4, 4 * 15 * 256 * 1024), (GEMMA_270M, 4096, 2, 3, 6 * 15 * 512 * 1024),
    (LLAMA_1B, 4096, 2, 4, 0), (GEMMA_270M, 4096, 1, 0, 0)])
def test_checkpoints_are_planned_at_their_bound(header: Header, context: int, slots: int, count: int, want: int) -> None:
    assert run(header, context, slots, checkpoints=count).checkpoints == want


@pytest.mark.parametrize("header, want", [(GEMMA_270M, True), (LLAMA_1B, False), (QWEN35, True), (MAMBA, True), (BERT, False), (DEEPSEEK_LITE, False)])
def test_only_windows_and_state_need_checkpoints(header: Header, want: bool) -> None:
    assert _memory.needs_checkpoints(header) is want


GROUPS = (TensorGroup("Q4_K", "matrix", 32, 9, 1000), TensorGroup("Q4_K", "experts", 8, 9, 200), TensorGroup("Q6_K", "matrix", 8, 1, 30),
          TensorGroup("Q8_0", "tied", 4, 1, 4), TensorGroup("Q4_K", "matrix", 4, 1, 7_000), TensorGroup("Q4_K", "embedding", 32, 1, 50_000),
          TensorGroup("Q5_0", "matrix", 32, 1, 600_000), TensorGroup("Q2_K", "matrix", 32, 1, 8_000_000), TensorGroup("IQ4_NL", "matrix", 4, 1, 90_000_000))


@pytest.mark.parametrize("isa, want", [
    (X86, 1_200), ((*X86, "avx512"), 8_001_200), (("sse42", "avx"), 0), (ARM, 90_001_234), (("neon", "dotprod"), 90_001_234), (("neon",), 90_000_000),
    ((*X86, "avx512", "amx"), 1000 * 148 // 144 + 200 + 8_000_000)])
def test_repacking_is_exact_from_tensor_infos(isa: tuple[str, ...], want: int) -> None:
    assert _memory.repack_bytes(model("llama", 2, 64, tensors=GROUPS), isa) == (want, True)


def test_repacking_of_a_real_file_is_what_the_engine_printed() -> None:
    groups = (TensorGroup("F32", "other", 1, 109, 223_744), TensorGroup("Q4_K", "matrix", 32, 27, 13_271_040),
              TensorGroup("Q5_0", "matrix", 32, 81, 43_591_680),
              TensorGroup("Q6_K", "matrix", 32, 9, 9_676_800), TensorGroup("Q8_0", "matrix", 32, 9, 1_566_720), TensorGroup("Q8_0", "tied", 32, 1, 178_257_920))
    header = model("gemma3", 18, 640, 2048, 4, 1, 256, tensors=groups)
    for isa, printed in ((X86, 12.66), ((*X86, "avx512", "amx"), 213.91)):
        assert mib(_memory.repack_bytes(header, isa)[0]) == pytest.approx(printed, abs=0.006)


@pytest.mark.parametrize("name, want", [("glm4moe", 1000), ("nobody-knows", 1100)])
def test_layers_that_only_predict_further_tokens_are_not_rewritten(name: str, want: int) -> None:
    """A known architecture does not load them; what another does, nobody knows."""
    groups = (TensorGroup("Q4_K", "matrix", 32, 1, 1000), TensorGroup("Q4_K", "nextn", 32, 1, 100))
    assert _memory.repack_bytes(model(name, 2, 64, tensors=groups), X86)[0] == want


def test_an_unknown_instruction_set_is_planned_at_the_worst() -> None:
    assert _memory.repack_bytes(model("llama", 2, 64, tensors=GROUPS), ()) == (90_001_234, False)


def test_an_encoder_has_no_output_matrix_to_repack() -> None:
    assert _memory.repack_bytes(model("bert", 2, 64, tensors=(TensorGroup("Q8_0", "tied", 32, 1, 4),)), ARM) == (0, True)


@pytest.mark.parametrize("isa, want", [(X86, 850), (ARM, 1000), (("sse42",), 0), ((), 1000), ((*X86, "amx"), 1000 * 38 // 34)])
def test_without_tensor_infos_repacking_is_a_bound_and_says_so(isa: tuple[str, ...], want: int) -> None:
    header = model("llama", 2, 64, 128, 4, 2, file_size=1000)
    assert _memory.repack_bytes(header, isa) == (want, False)
    assert any("Tensor infos" in note for note in _memory.estimate(header, _memory.Settings(isa=isa)).notes)


PLACES, GRAPHS = 8 * 10_273, 3 * 430


@pytest.mark.parametrize("tokenizer, more, want", [
    ("llama", {}, 38 + PLACES), ("bert", {}, 38 + PLACES + 9 / 16 * MIB), ("rwkv", {}, 38 + PLACES + 17 / 8 * MIB + 180_000),
    ("t5", {}, 38 + PLACES + 17 / 8 * MIB + 352_000),
    ("gpt2", {"merge_count": 10}, 90 + 2 * PLACES + 17 / 8 * MIB + (98 + 36) * 10), ("gemma4", {"merge_count": 10}, 38 + 2 * PLACES + 17 / 8 * MIB + 134 * 10),
    ("gpt2", {}, 90 + 2 * PLACES + 17 / 8 * MIB + 134 * 2250),
    ("llama", {"tensor_count": 7}, 38 + PLACES + 450 * 7), ("llama", {"tensor_count": 200}, 38 + PLACES + 450 * 200 + GRAPHS * (1600 - 1024)),
    ("llama", {"architecture": "qwen35"}, 38 + PLACES + GRAPHS * (4000 - 1024)), ("none", {}, 17 / 8 * MIB - 136_000 - 12_000 - 28_000)])
def test_base_grows_with_the_tokenizer_and_the_tensors(tokenizer: str, more: dict[str, Any], want: float) -> None:
    header = replace(model("llama", 4, 64, 128, 4, 2, 16, vocabulary=1000, tokenizer=tokenizer), **more)
    tokens = 136_000 + 12_000 + 44_000 - 4000 - 12_000  # in tables, to choose from, and free, where logits and choices lie
    fixed = 3 * MIB + tokens + GRAPHS * 1024 + 320 * 100
    assert run(header, 100).base == want + fixed + 100 * 128 * 5 // 4 + MIB - 8 * 100 * 64  # products' room, less what prompts do not touch


@pytest.mark.parametrize("less, more", [(20_130, 20_131), (28_017, 28_016)])
def test_an_encoder_whose_tables_have_grown_keeps_more(less: int, more: int) -> None:
    few, many = (run(replace(BERT, vocab_size=size), 512, embeddings=True).base for size in (less, more))
    assert many - few == pytest.approx(13 * MIB // 16, abs=300)


def test_each_slot_keeps_the_list_it_chose_from() -> None:
    one, two = (run(LLAMA_1B, 4096, slots=slots).base for slots in (1, 2))
    assert two - one == 12 * 128_256 + MIB // 8 - 4 * 128_256  # its logits lie in room that is free


def test_a_cache_lies_in_the_room_of_the_files_lists() -> None:
    header = replace(model("llama", 4, 64, 128, 4, 2, 16, vocabulary=1000, tokenizer="gpt2"), merge_count=5000)
    small, large = (run(header, context) for context in (100, 400))
    assert small.kv_full == 131_072 < 32 * 5000 < large.kv_full == 262_144
    free = small.kv_full + 320 * 300 + (400 - 100) * 128 * 5 // 4 - 8 * 300 * 64
    assert large.base - small.base == pytest.approx(free, abs=1)


def test_a_micro_batch_is_no_longer_than_the_context() -> None:
    assert run(QWEN35, 640, ubatch=1024, batch=2048).base == run(QWEN35, 640, ubatch=640, batch=640).base


def test_weights_that_are_read_leave_the_buffer_they_went_through() -> None:
    groups = (TensorGroup("Q4_K", "matrix", 32, 1, 10 * MIB),)
    for header, want in ((replace(LLAMA_1B, tensors=groups), 2048 * 8192 * 9 // 16), (replace(OLMOE, tensors=groups), 32 * MIB),
                         (replace(LLAMA_1B, tensors=()), 0)):
        mapped, read = (run(header, 4096, mmap=mmap).base for mmap in (True, False))
        assert read - mapped == want


def test_embeddings_without_pooling_hold_logits_of_every_token() -> None:
    asked = run(LLAMA_1B, 2048, embeddings=True)
    pooled = run(replace(LLAMA_1B, parameters={**LLAMA_1B.parameters, "pooling_type": 3}), 2048, embeddings=True)
    assert asked.compute >= 4 * 512 * (128_256 + 5 * 2048) and asked.output == 4 * 512 * (128_256 + 2048)
    assert asked.base == pooled.base + 48 * 512 * 2048 + pooled.output  # which lies in room that is free
    assert 0 <= pooled.compute - run(LLAMA_1B, 2048).compute <= 4096 and pooled.output == 4 * (128_256 + 2048)


def test_few_tokens_leave_the_logits_of_all_slots_the_largest_phase() -> None:
    assert run(LLAMA_1B, 2048, slots=4, ubatch=16).compute >= 4 * (4 * 128_256 + 16 * 5 * 2048)


@pytest.mark.parametrize("context, ubatch, feed_forward, flash, measured", [
    (4096, 512, 1024, False, 88.7), (2048, 2048, 1024, False, 131.3), (2048, 2048, 16_384, True, 36.0), (2048, 512, 16_384, True, 18.0)])
def test_scores_and_wide_layers_are_converted_in_memory_of_their_own(context: int, ubatch: int, feed_forward: int, flash: bool, measured: float) -> None:
    header = model("llama", 2, 512, feed_forward, 16, 16, 64, 32_000, tokenizer="llama", tensor_count=20)
    found = run(header, context, ubatch=ubatch, batch=ubatch, flash_attention=flash)
    assert measured <= mib(found.base) <= 1.25 * measured


def test_not_causal_models_fill_a_micro_batch_beyond_their_context() -> None:
    encoder = replace(BERT, parameters={**BERT.parameters, "attention.causal": False})
    assert run(encoder, 300, ubatch=1024, batch=1024).compute == run(encoder, 512, ubatch=1024, batch=1024).compute


def test_grok_has_no_flash_attention() -> None:
    grok = model("grok", 4, 1536, 2304, 24, 1, 64, 1000, expert_used_count=2)
    assert run(grok, 16_384).compute == run(grok, 16_384, flash_attention=False).compute >= 4 * 512 * 24 * 16_384


def test_a_draft_model_is_a_second_estimate_and_a_projector_needs_more_than_its_file() -> None:
    settings, draft = _memory.Settings(context=2048), _memory.Settings(context=2048, slots=2)
    both = _memory.estimate(LLAMA_8B, _memory.with_draft(settings, LLAMA_1B, draft))
    alone, second = _memory.estimate(LLAMA_8B, settings), _memory.estimate(LLAMA_1B, draft)
    assert both.anonymous - alone.anonymous == second.anonymous == both.draft
    seeing = _memory.estimate(LLAMA_8B, replace(settings, projector=5 * MIB))
    assert seeing.projector > 1024 * MIB and "projector" in seeing.notes[0]
    assert seeing.anonymous - alone.anonymous == seeing.projector + 8 * 512 * 4096  # images come as embeddings: their place is touched


def test_anonymous_and_file_backed_are_sums() -> None:
    header = model("llama", 16, 2048, 8192, 32, 8, 64, 128_256, tensors=(TensorGroup("Q4_K", "matrix", 32, 1, 445 * MIB),), file_size=800 * MIB)
    found = run(header, 4096, prompt_cache=256 * MIB, projector=5 * MIB)
    terms = ("kv_full", "kv_window", "state", "compute", "output", "repack", "prompt_cache", "checkpoints", "projector", "draft", "base", "weights")
    assert found.anonymous == sum(getattr(found, term) for term in terms) and found.file_backed == 800 * MIB
    assert found.prompt_cache == 256 * MIB and found.repack_exact and len(found.notes) == 1  # that of the projector
    read = run(header, 4096, mmap=False)
    assert (read.weights, read.file_backed) == (355 * MIB, 0) and json.dumps(found.as_dict())


def test_an_unknown_architecture_is_over_estimated_and_says_so() -> None:
    numbers = (16, 2048, 8192, 32, 8, 64, 128_256)
    known, unknown = run(model("llama", *numbers)), run(model("brand-new", *numbers))
    assert unknown.anonymous > known.anonymous and unknown.kv_full == known.kv_full
    assert any("not known" in note for note in unknown.notes)


@pytest.mark.parametrize("header, settings, text", [
    (PHI_2, {"type_k": "q8_0", "type_v": "q8_0"}, "does not fit the model's heads.*head size 80"),
    (LLAMA_1B, {"type_k": "q9"}, "cache type is not known"),
    (LLAMA_1B, {"type_v": "q8_0", "flash_attention": False}, "needs flash attention"),
    (DEEPSEEK_LITE, {"type_k": "q8_0", "type_v": "q8_0", "flash_attention": False}, "needs flash attention"),
    (DEEPSEEK_LITE, {"type_k": "q8_0"}, "one cache, of one type.*got q8_0 for keys, f16 for values"),
    (LLAMA_1B, {"type_k": ["f16"]}, "cache type is not known"),
    (LLAMA_1B, {"slots": 0}, r"whole number in the engine's range \(slots\): got 0. Use 1 to 256"),
    (LLAMA_1B, {"slots": 257}, "got 257"),
    (LLAMA_1B, {"context": -1}, r"\(context\): got -1"),
    (LLAMA_1B, {"context": 1 << 31}, "Use 1 to 2147483647"),
    (LLAMA_1B, {"context": "4096"}, "got '4096'"),
    (LLAMA_1B, {"batch": 512.5}, "got 512.5"),
    (LLAMA_1B, {"ubatch": True}, "got True"),
    (LLAMA_1B, {"prompt_cache": -1}, r"\(prompt_cache\): got -1"),
    (LLAMA_1B, {"flash_attention": "maybe"}, r"true or false \(flash_attention\): got 'maybe'"),
    (LLAMA_1B, {"isa": "avx2"}, "list of names"), (LLAMA_1B, {"isa": 2}, "list of names"),
    (model("bert", 6, 384, 1536, 12, 12, pooling_type=1), {"embeddings": True, "slots": 3, "context": 512}, "slots do not divide.*got 3 slots, 512 tokens"),
    (model("clip", 0, 0), {}, "cannot be planned without its shape")])
def test_what_the_engine_would_refuse_is_a_sentence(header: Header, settings: dict[str, Any], text: str) -> None:
    with pytest.raises(FleetError, match=text):
        _memory.estimate(header, _memory.Settings(**settings))


def test_what_is_not_said_is_the_default_and_the_engine_decides_for_flash_attention() -> None:
    nothing = dict.fromkeys(_memory.Settings().__dataclass_fields__)
    assert _memory.Settings(**nothing) == _memory.Settings() == _memory.Settings(flash_attention="auto")


@pytest.mark.parametrize("header", [GEMMA_270M, LLAMA_1B, QWEN35, MAMBA, DEEPSEEK_LITE, QWEN_30B])
@pytest.mark.parametrize("change", [{"context": 8192}, {"slots": 3}, {"prompt_cache": MIB}, {"flash_attention": False}])
def test_more_is_never_less(header: Header, change: dict[str, Any]) -> None:
    small = _memory.estimate(header, _memory.Settings(isa=X86))
    assert _memory.estimate(header, _memory.Settings(isa=X86, **change)).anonymous >= small.anonymous
