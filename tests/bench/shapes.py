"""Shape files: a real GGUF header (keys, tokenizer, tensor infos) over weights that are a hole in the file.

Each row of `SHAPES` is a model; names say what it stands for. Layers are cut to a few wherever every kind of layer still occurs:
the formulas are per layer. Dimensions are words in `dims`: a tensor is `name A B`, fastest dimension first, and `name.bias A`.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterator, Mapping

from gguf_writer import Tensor, Typed, write

ATTENTION = "attn_norm E; attn_q E Q; attn_k E K; attn_v E V; attn_output Q E; "
FUSED = "attn_norm E; attn_norm.bias E; attn_qkv E QKV; attn_qkv.bias QKV; attn_output Q E; attn_output.bias E; "
GATED = "ffn_norm E; ffn_gate E F; ffn_up E F; ffn_down F E; "
PLAIN = "ffn_up E F; ffn_up.bias F; ffn_down F E; ffn_down.bias E; "
BIASES = "attn_q.bias Q; attn_k.bias K; attn_v.bias V; "
NORMS = "attn_q_norm D; attn_k_norm D; "
AFTER = "post_attention_norm E; post_ffw_norm E; "
EXPERTS = "ffn_norm E; ffn_gate_inp E X; ffn_gate_exps E FX X; ffn_up_exps E FX X; ffn_down_exps FX E X; "
SHARED = "ffn_gate_shexp E FS; ffn_up_shexp E FS; ffn_down_shexp FS E; "
MAMBA1 = "attn_norm E; ssm_in E 2I; ssm_conv1d C I; ssm_conv1d.bias I; ssm_x I XD; ssm_dt T I; ssm_dt.bias I; ssm_a N I; ssm_d I; ssm_out I E; "
MAMBA2 = "attn_norm E; ssm_in E IN; ssm_conv1d C CI; ssm_conv1d.bias CI; ssm_dt.bias T; ssm_a 1 T; ssm_d 1 T; ssm_norm IG G; ssm_out I E; "
LATENT = ("attn_norm E; attn_q_a E 768; attn_q_a_norm 768; attn_q_b 768 HM; attn_kv_a_mqa E RD; attn_kv_a_norm R; attn_k_b ND R H; "
          "attn_v_b R VD H; attn_output HV E; ")
DELTA = ("attn_norm E; post_attention_norm E; attn_qkv E CI; attn_gate E I; ssm_conv1d C CI; ssm_dt.bias T; ssm_a T; ssm_beta E T; ssm_alpha E T; "
         "ssm_norm N; ssm_out I E; ")
RWKV7 = ("attn_norm E; attn_norm.bias E; attn_norm_2 E; attn_norm_2.bias E; time_mix_w0 E; time_mix_w1 E 64; time_mix_w2 64 E; time_mix_a0 E; "
         "time_mix_a1 E 64; time_mix_a2 64 E; time_mix_v0 E; time_mix_v1 E LV; time_mix_v2 LV E; time_mix_g1 E 128; time_mix_g2 128 E; "
         "time_mix_lerp_fused E 1 1 6; time_mix_k_k E; time_mix_k_a E; time_mix_r_k E; time_mix_key E E; time_mix_value E E; time_mix_receptance E E; "
         "time_mix_ln E; time_mix_ln.bias E; time_mix_output E E; channel_mix_lerp_k E; channel_mix_key E F; channel_mix_value F E; ")
CONV = "attn_norm E; shortconv.conv C E; shortconv.in_proj E 3E; shortconv.out_proj E E; "
HEAD = "token_embd E V_; output_norm E; output E V_"
TIED = "token_embd E V_; output_norm E"
LONG_TOKENS = 1_500_000
"""Tokens of a vocabulary of byte-pair encoding for each of its tokens that is longer than 15 bytes: 3 % of 50,000, 17 % of 256,000, as in real ones.
Others have half as many."""
VECTORS = ("_norm", "_inp", "conv1d", "ssm_a", "ssm_d", "ssm_dt", "time_mix_w", "time_mix_a", "time_mix_v0", "time_mix_v1", "time_mix_v2", "time_mix_g",
           "lerp", "position_embd", "token_types", "_k_k", "_k_a", "_r_k", "shortconv.conv", "altup", "sinks")
"""Parts of names of tensors that every quantization keeps as F32."""


@dataclass(frozen=True)
class ShapeFile:
    """One model: `layers` is a template, or several in turn (`pattern` chooses by letter); `keys` are architecture keys."""

    architecture: str
    layers: str | Mapping[str, str]
    keys: Mapping[str, Any]
    top: str = HEAD
    pattern: str = ""
    vocabulary: int = 32_000
    tokenizer: str = "gpt2"
    merges: int | None = None
    kind: str = "Q4_K"
    more: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


def dims(shape: ShapeFile) -> dict[str, int]:
    """What the words of templates mean for this model."""
    keys = shape.keys
    heads = keys.get("attention.head_count") or 0
    embedding, first = keys["embedding_length"], max(heads) if isinstance(heads, list) else heads
    stored = keys.get("attention.head_count_kv", heads)
    kv = max(stored) if isinstance(stored, list) else stored
    size = keys.get("attention.key_length") or (embedding // first if first else 0)
    value = keys.get("attention.value_length") or size
    inner, state, groups = (keys.get(f"ssm.{name}") or 0 for name in ("inner_size", "state_size", "group_count"))
    ranks, rank = keys.get("ssm.time_step_rank") or 0, keys.get("attention.kv_lora_rank") or 0
    key_mla, value_mla, rope = (keys.get(name) or 0 for name in ("attention.key_length_mla", "attention.value_length_mla", "rope.dimension_count"))
    expert = keys.get("expert_feed_forward_length") or keys.get("feed_forward_length") or 0
    mixed = inner + 2 * groups * state
    found = {
        "E": embedding, "3E": 3 * embedding, "Q": first * size, "K": kv * size, "V": kv * value, "QKV": (first + kv) * size + kv * value, "D": size,
        "2Q": 2 * first * size, "F": keys.get("feed_forward_length") or 0, "2F": 2 * (keys.get("feed_forward_length") or 0), "X": keys.get("expert_count") or 0,
        "FX": expert, "FS": keys.get("expert_shared_feed_forward_length") or (keys.get("expert_shared_count") or 0) * expert,
        "I": inner, "2I": 2 * inner, "N": state, "C": keys.get("ssm.conv_kernel") or keys.get("shortconv.l_cache") or 4, "T": ranks, "G": groups,
        "XD": ranks + 2 * state, "IN": mixed + inner + ranks, "CI": mixed, "IG": inner // groups if groups else inner, "H": first, "HM": first * key_mla,
        "R": rank, "RD": rank + rope, "ND": key_mla - rope, "VD": value_mla, "HV": first * value_mla, "V_": shape.vocabulary,
        "A": keys.get("embedding_length_per_layer_input") or 0, "AL": (keys.get("embedding_length_per_layer_input") or 0) * keys["block_count"], "LV": 64}
    return {**found, **shape.more}


def tensors(shape: ShapeFile) -> Iterator[Tensor]:
    """All tensor infos, in the order of a converted file."""
    words = dims(shape)
    yield from _tensors(shape.top, "", words, shape.kind)
    for index in range(shape.keys["block_count"]):
        layer = shape.layers if isinstance(shape.layers, str) else shape.layers[shape.pattern[index % len(shape.pattern)]]
        yield from _tensors(layer, f"blk.{index}.", words, shape.kind)


def _tensors(template: str, prefix: str, words: Mapping[str, int], kind: str) -> Iterator[Tensor]:
    for text in filter(None, (part.strip() for part in template.split(";"))):
        name, *shape = text.split()
        sizes = [words[word] if word in words else int(word) for word in shape]
        full = f"{prefix}{name}".removesuffix(".bare") if name.endswith((".bias", "ssm_a", "ssm_d", ".bare")) else f"{prefix}{name}.weight"
        yield Tensor(full, sizes, _kind(full, sizes, kind))


def _kind(name: str, sizes: list[int], kind: str) -> str:
    """The type a quantized file has: vectors stay F32, embeddings are finer, rows that blocks do not divide fall back."""
    if len(sizes) == 1 or name.endswith(".bias") or any(part in name for part in VECTORS):
        return "F32"
    wanted = "Q6_K" if name in ("token_embd.weight", "output.weight") and kind == "Q4_K" else kind
    if wanted in ("Q4_K", "Q6_K") and sizes[0] % 256:
        wanted = "Q5_0" if wanted == "Q4_K" else "Q8_0"
    return wanted if sizes[0] % 32 == 0 else "F16"


def tokenizer(shape: ShapeFile) -> dict[str, Any]:
    """Keys of a tokenizer of the right kind and size, with tokens of the usual length."""
    count, model = shape.vocabulary, shape.tokenizer
    keys: dict[str, Any] = {"tokenizer.ggml.model": model}
    if model == "llama":
        tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
        keys["tokenizer.ggml.scores"] = Typed("f32", [0.0] * count)
        kinds = [2, 3, 3, *[6] * 256]
    elif model == "bert":
        tokens, kinds = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], [3] * 5
        keys["tokenizer.ggml.token_type_count"] = Typed("u32", 2)
    else:
        tokens, kinds = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324))], [1] * 256
        merges = shape.merges if shape.merges is not None else count - len(tokens)
        keys["tokenizer.ggml.pre"] = "default"
        keys["tokenizer.ggml.merges"] = [f"\u0120w{number} x{number % 977}" for number in range(merges)]
    share = LONG_TOKENS if model == "gpt2" else 2 * LONG_TOKENS
    tokens += [f"\u0120w{number}{' a long one' if number * count % share < count else ''}" for number in range(count - len(tokens))]
    keys["tokenizer.ggml.tokens"] = tokens[:count]
    keys["tokenizer.ggml.token_type"] = Typed("i32", (kinds + [1] * (count - len(kinds)))[:count])
    for name, token in (("bos", 1), ("eos", 2)):
        keys[f"tokenizer.ggml.{name}_token_id"] = Typed("u32", token)
    if model == "bert":
        keys.update({f"tokenizer.ggml.{name}_token_id": Typed("u32", token) for name, token in (("unknown", 1), ("seperator", 3), ("padding", 0), ("cls", 2))})
    return keys


def build(shape: ShapeFile, path: Path) -> Path:
    """Write the file; its weights take no room on disk."""
    name = shape.architecture
    keys: dict[str, Any] = {"general.architecture": name, "general.name": "shape", "general.file_type": Typed("u32", 15)}
    defaults = {"context_length": 32_768, "attention.layer_norm_rms_epsilon": 1e-6, "attention.layer_norm_epsilon": 1e-6, "vocab_size": shape.vocabulary}
    keys.update({f"{name}.{key}": item for key, item in {**defaults, **shape.keys}.items()})
    return write(path, {**keys, **tokenizer(shape)}, list(tensors(shape)))


def llama(layers: int, embedding: int, forward: int, heads: int, kv: int, size: int | None = None, **more: Any) -> dict[str, Any]:
    """Architecture keys of a transformer; in `more` two underscores stand for a dot."""
    found: dict[str, Any] = {"block_count": layers, "embedding_length": embedding, "feed_forward_length": forward, "attention.head_count": heads,
                             "attention.head_count_kv": kv}
    if size:
        found.update({"attention.key_length": size, "attention.value_length": size, "rope.dimension_count": size})
    return {**found, **{name.replace("__", "."): value for name, value in more.items()}}


def _dense() -> dict[str, ShapeFile]:
    full = ATTENTION + GATED
    return {
        "llama-3.2-1b": ShapeFile("llama", full, llama(4, 2048, 8192, 32, 8), TIED, vocabulary=128_256, merges=280_147),
        "llama-3.1-8b": ShapeFile("llama", full, llama(2, 4096, 14_336, 32, 8), vocabulary=128_256, merges=280_147),
        "qwen2.5-0.5b": ShapeFile("qwen2", ATTENTION + BIASES + GATED, llama(6, 896, 4864, 14, 2), TIED, vocabulary=151_936, kind="Q4_0"),
        "qwen3-0.6b": ShapeFile("qwen3", full + NORMS, llama(6, 1024, 3072, 16, 8, 128), TIED, vocabulary=151_936),
        "qwen3-8b-q8-cache": ShapeFile("qwen3", full + NORMS, llama(2, 4096, 12_288, 32, 8, 128), vocabulary=151_936,
                                       settings={"type_k": "q8_0", "type_v": "q8_0"}),
        "llama-2-7b": ShapeFile("llama", full, llama(2, 4096, 11_008, 32, 32), tokenizer="llama"),
        "no-flash-attention": ShapeFile("llama", full, llama(4, 2048, 8192, 32, 8), TIED, vocabulary=128_256, merges=280_147,
                                        settings={"flash_attention": False, "context": 1024}),
        "not-mapped": ShapeFile("llama", full, llama(4, 2048, 8192, 32, 8), TIED, settings={"mmap": False}),
        "four-slots": ShapeFile("llama", full, llama(4, 2048, 5632, 32, 4), tokenizer="llama", settings={"slots": 4}),
        "four-slots-apart": ShapeFile("llama", full, llama(4, 2048, 5632, 32, 4), tokenizer="llama", settings={"slots": 4, "unified": False, "context": 2048}),
        "phi-2": ShapeFile("phi2", FUSED + PLAIN, llama(4, 2560, 10_240, 32, 32, rope__dimension_count=32), vocabulary=51_200,
                           top=HEAD + "; output_norm.bias E; output.bias V_"),
        "phi-3-mini": ShapeFile("phi3", "attn_norm E; attn_qkv E QKV; attn_output Q E; ffn_norm E; ffn_up E 2F; ffn_down F E; ",
                                llama(4, 3072, 8192, 32, 32, rope__dimension_count=96, attention__sliding_window=2047), vocabulary=32_064, tokenizer="llama"),
        "gpt-2": ShapeFile("gpt2", FUSED + "ffn_norm E; ffn_norm.bias E; " + PLAIN, llama(12, 768, 3072, 12, 12, context_length=1024), vocabulary=50_257,
                           top=HEAD + "; output_norm.bias E; position_embd E 1024"),
        "starcoder2-3b": ShapeFile("starcoder2", ATTENTION + BIASES + "attn_norm.bias E; attn_output.bias E; ffn_norm E; ffn_norm.bias E; " + PLAIN,
                                   llama(4, 3072, 12_288, 24, 2), TIED + "; output_norm.bias E", vocabulary=49_152),
        "falcon-7b": ShapeFile("falcon", "attn_norm E; attn_norm.bias E; attn_qkv E QKV; attn_output Q E; ffn_up E F; ffn_down F E; ",
                               llama(2, 4544, 18_176, 71, 1), HEAD + "; output_norm.bias E", vocabulary=65_024),
        "command-r": ShapeFile("command-r", ATTENTION + "ffn_gate E F; ffn_up E F; ffn_down F E; ", llama(1, 8192, 22_528, 64, 64, logit_scale=0.0625),
                               TIED, vocabulary=256_000),
        "olmo-2": ShapeFile("olmo2", "attn_q E Q; attn_k E K; attn_v E V; attn_output Q E; attn_q_norm Q; attn_k_norm K; " + AFTER
                            + "ffn_gate E F; ffn_up E F; ffn_down F E; ", llama(4, 2048, 8192, 16, 16), vocabulary=100_352)}


def _windows() -> dict[str, ShapeFile]:
    gemma = ATTENTION + GATED + AFTER
    return {
        "gemma-2-2b": ShapeFile("gemma2", gemma, llama(4, 2304, 9216, 8, 4, 256, attention__sliding_window=4096), TIED, vocabulary=256_000, tokenizer="llama"),
        "gemma-3-1b": ShapeFile("gemma3", gemma + NORMS, llama(6, 1152, 6912, 4, 1, 256, attention__sliding_window=512), TIED, vocabulary=262_144,
                                tokenizer="llama"),
        "gemma-3-4b-slots": ShapeFile("gemma3", gemma + NORMS, llama(6, 2560, 10_240, 8, 4, 256, attention__sliding_window=1024), TIED, vocabulary=262_144,
                                      tokenizer="llama", settings={"slots": 3}),
        "gpt-oss-20b": ShapeFile("gpt-oss", ATTENTION + BIASES + "attn_output.bias E; attn_sinks H; post_attention_norm E; "
                                 + EXPERTS.replace("ffn_norm E; ", "") + "ffn_gate_inp.bias X; ffn_gate_exps.bias FX X; ffn_up_exps.bias FX X; "
                                 "ffn_down_exps.bias E X; ",
                                 llama(2, 2880, 2880, 64, 8, 64, expert_count=8, expert_used_count=4, expert_feed_forward_length=2880,
                                       attention__sliding_window=128), vocabulary=201_088, merges=446_189, kind="MXFP4"),
        "cohere-2": ShapeFile("cohere2", ATTENTION + "ffn_gate E F; ffn_up E F; ffn_down F E; ",
                              llama(4, 4096, 14_336, 32, 8, attention__sliding_window=4096, logit_scale=0.25, rope__dimension_count=128), TIED,
                              vocabulary=256_000),
        "gemma-3n": ShapeFile("gemma3n", gemma + NORMS + "inp_gate E A; proj A E; post_norm E; altup_correct_coef 4 4; altup_correct_scale E; "
                              "altup_predict_coef 4 16; altup_router E 4; altup_router_norm E; laurel_l E 64; laurel_r 64 E; laurel_post_norm E; ",
                              llama(22, 512, 1024, 4, 2, 128, attention__sliding_window=512, embedding_length_per_layer_input=256,
                                    attention__shared_kv_layers=2), TIED + "; altup_proj E E 3; altup_unembd_proj E E 3; per_layer_token_embd AL V_; "
                              "per_layer_model_proj E AL; per_layer_proj_norm A", tokenizer="llama", vocabulary=65_536)}


def _mixtures() -> dict[str, ShapeFile]:
    return {
        "mixtral": ShapeFile("llama", ATTENTION + EXPERTS, llama(2, 4096, 14_336, 32, 8, expert_count=4, expert_used_count=2), tokenizer="llama"),
        "qwen3-30b-a3b": ShapeFile("qwen3moe", ATTENTION + NORMS + EXPERTS,
                                   llama(4, 2048, 6144, 32, 4, 128, expert_count=32, expert_used_count=8, expert_feed_forward_length=768),
                                   vocabulary=151_936),
        "olmoe": ShapeFile("olmoe", ATTENTION + "attn_q_norm Q; attn_k_norm K; " + EXPERTS,
                           llama(4, 2048, 1024, 16, 16, expert_count=16, expert_used_count=8), vocabulary=50_304),
        "deepseek-v2": ShapeFile("deepseek2", {"d": LATENT + GATED, "m": LATENT + EXPERTS + SHARED},
                                 llama(4, 2048, 10_944, 16, 1, attention__key_length=576, attention__value_length=512, attention__kv_lora_rank=512,
                                       attention__q_lora_rank=768, attention__key_length_mla=192, attention__value_length_mla=128,
                                       rope__dimension_count=64, expert_count=16, expert_used_count=6, expert_feed_forward_length=1408,
                                       expert_shared_count=2, leading_dense_block_count=1, expert_weights_scale=1.0), pattern="dmmm", vocabulary=102_400)}


def _recurrent() -> dict[str, ShapeFile]:
    attention = ATTENTION.replace("attn_norm E; ", "")
    delta = {"ssm__conv_kernel": 4, "ssm__inner_size": 2048, "ssm__state_size": 128, "ssm__group_count": 16, "ssm__time_step_rank": 16}
    mamba2 = {"ssm__conv_kernel": 4, "ssm__inner_size": 3072, "ssm__state_size": 128, "ssm__group_count": 1, "ssm__time_step_rank": 48}
    return {
        "mamba-370m": ShapeFile("mamba", MAMBA1, llama(8, 1024, 0, 0, 0, ssm__conv_kernel=4, ssm__inner_size=2048, ssm__state_size=16,
                                                       ssm__time_step_rank=64), TIED, vocabulary=50_280, settings={"slots": 2}),
        "mamba2-780m": ShapeFile("mamba2", MAMBA2, llama(8, 1536, 0, 0, 0, **mamba2), TIED, vocabulary=50_288),
        "rwkv7-400m": ShapeFile("rwkv7", RWKV7, {**llama(24, 1024, 4096, 0, 0), "wkv.head_size": 64, "token_shift_count": 2, "attention.decay_lora_rank": 64,
                                                 "attention.iclr_lora_rank": 64, "attention.value_residual_mix_lora_rank": 64,
                                                 "attention.gate_lora_rank": 128},
                                HEAD + "; output_norm.bias E; token_embd_norm E; token_embd_norm.bias E", vocabulary=65_536),
        "qwen3.5-0.8b": ShapeFile("qwen35", {"r": DELTA + GATED.replace("ffn_norm E; ", ""),
                                             "a": ATTENTION.replace("attn_q E Q", "attn_q E 2Q") + NORMS + "post_attention_norm E; "
                                             + GATED.replace("ffn_norm E; ", "")},
                                  llama(24, 1024, 3584, 8, 2, 256, full_attention_interval=4, **{**delta, "rope__dimension_count": 64},
                                        rope__dimension_sections=[11, 11, 10, 0]), TIED, pattern="rrra", vocabulary=248_320),
        "granite-4-h": ShapeFile("granitehybrid", {"m": MAMBA2 + GATED, "a": ATTENTION + GATED},
                                 {**llama(4, 1536, 4096, 12, 4, **mamba2), "attention.head_count_kv": [0, 0, 0, 4]}, TIED, pattern="mmma", vocabulary=100_352),
        "falcon-h1": ShapeFile("falcon-h1", MAMBA2.replace("attn_norm E; ", "") + ATTENTION + GATED.replace("ffn_norm", "ffn_norm.bare"),
                               llama(4, 1024, 2048, 8, 2, 64, ssm__conv_kernel=4, ssm__inner_size=1536, ssm__state_size=128, ssm__group_count=1,
                                     ssm__time_step_rank=24), vocabulary=32_784),
        "jamba": ShapeFile("jamba", {"m": MAMBA1 + "ssm_dt_norm T; ssm_b_norm N; ssm_c_norm N; " + GATED, "a": "attn_norm E; " + attention + GATED},
                           {**llama(4, 2048, 8192, 16, 2, ssm__conv_kernel=4, ssm__inner_size=4096, ssm__state_size=16, ssm__time_step_rank=128),
                            "attention.head_count_kv": [0, 0, 2, 0]}, TIED, pattern="mmam", vocabulary=65_536, tokenizer="llama"),
        "lfm2-1.2b": ShapeFile("lfm2", {"c": CONV + GATED, "a": ATTENTION + NORMS + GATED},
                               {**llama(6, 2048, 8192, 32, 8, shortconv__l_cache=3), "attention.head_count_kv": [0, 0, 8, 0, 0, 8]},
                               "token_embd E V_; token_embd_norm E", pattern="ccacca", vocabulary=65_536)}


def _encoders() -> dict[str, ShapeFile]:
    bert = ("attn_q E Q; attn_k E K; attn_v E V; attn_output Q E; attn_output_norm E; attn_output_norm.bias E; layer_output_norm E; layer_output_norm.bias E; ")
    top = "token_embd E V_; token_types E 2; token_embd_norm E; token_embd_norm.bias E"
    encoder = {"attention.causal": False, "pooling_type": Typed("u32", 2), "context_length": 512}
    return {
        "bge-small": ShapeFile("bert", bert + BIASES + "attn_output.bias E; " + PLAIN, {**llama(12, 384, 1536, 12, 12), **encoder},
                               top + "; position_embd E 512", vocabulary=30_522, tokenizer="bert", kind="Q8_0", settings={"embeddings": True, "context": 512}),
        "qwen3-embedding-0.6b": ShapeFile("qwen3", ATTENTION + GATED + NORMS, {**llama(6, 1024, 3072, 16, 8, 128), "pooling_type": Typed("u32", 3)}, TIED,
                                          vocabulary=151_669, settings={"embeddings": True}),
        "nomic-embed": ShapeFile("nomic-bert", bert.replace("attn_q E Q; attn_k E K; attn_v E V", "attn_qkv E QKV")
                                 + "ffn_gate E F; ffn_up E F; ffn_down F E; ",
                                 {**llama(12, 768, 3072, 12, 12), **encoder, "context_length": 2048, "pooling_type": Typed("u32", 1),
                                  "rope.freq_base": 1000.0}, top, vocabulary=30_522, tokenizer="bert",
                                 settings={"embeddings": True, "context": 1024, "ubatch": 1024, "batch": 1024})}


SHAPES: dict[str, ShapeFile] = {**_dense(), **_windows(), **_mixtures(), **_recurrent(), **_encoders()}
"""Name → shape; dense, windows, mixtures, recurrent and hybrid, encoders."""
