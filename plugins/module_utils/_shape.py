# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""What llama.cpp makes of a model's keys: which layer caches what, and which blocks compute what.

Architectures are known by name, because defaults differ and are not in the file. One that is not
known is taken as all full attention, so that its memory is over-estimated.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ._errors import FleetError
from ._gguf import Header

ENCODERS = frozenset("""bert nomic-bert nomic-bert-moe jina-bert-v2 jina-bert-v3 neo-bert modern-bert eurobert gemma-embedding t5encoder
    dream llada llada-moe rnd1 wavtokenizer-dec""".split())
"""Models that give embeddings, or that decode by diffusion."""
CACHELESS = ENCODERS - {"t5encoder"}
"""No cache at all (llama.cpp creates no memory for them)."""
NONCAUSAL = frozenset("dream llada llada-moe rnd1 gemma-embedding".split())
"""Each token sees the later ones too, whatever the file says; others say so with a key."""
NO_LOGITS = CACHELESS - {"dream", "llada", "llada-moe", "rnd1"} | {"t5encoder", "llama-embed", "lfm2", "lfm2moe"}
"""Asked for embeddings, these compute no logits; others do for every token, unless the file says how to pool."""
ALL_LOGITS = frozenset(("cogvlm", "t5"))
"""Logits of every token, asked for or not."""
ALL_ROWS = frozenset(("t5encoder",))
"""All tokens have an output."""
UNFLASHED = frozenset(("grok",))
"""The engine turns flash attention off."""
DENSE = frozenset("""llama mistral3 mistral4 qwen qwen2 qwen2moe qwen2vl qwen3 qwen3moe qwen3vl qwen3vlmoe phi2 phi3 phimoe gemma starcoder starcoder2
    falcon gptneox gpt2 stablelm mpt baichuan internlm2 deepseek deepseek2 deepseek2-ocr olmo olmoe granite granitemoe command-r minicpm minicpm3
    orion xverse chatglm glm4 glm4moe exaone smollm3 arcee ernie4_5 ernie4_5-moe hunyuan-dense hunyuan-moe hunyuan_vl hy_v3 dots1 bailingmoe bailingmoe2
    seed_oss apertus nemotron openelm jais jais2 bloom refact codeshell plamo dbrx grok arctic deci bitnet grovemoe minimax-m2 plm arctic chameleon
    cogvlm llama-embed maincoder nanbeige paddleocr pangu-embedded talkie t5 deepseek32 glm-dsa minimax-m3""".split())
"""Full attention in every layer."""
WINDOWED = {"gemma2": 2, "gemma3": 6, "gemma3n": 5, "gemma-embedding": 6, "gpt-oss": 2, "cohere2": 4, "cohere2moe": 4, "llama4": 4, "exaone4": 4,
            "exaone-moe": 4, "olmo2": 4, "afmoe": 4, "mellum": 4, "smallthinker": 4, "modern-bert": 3, "plamo3": 8, "laguna": 4, "muse-glimmer": 4,
            "gemma4": 1, "mimo2": 1, "step35": 1, "granite_swa": 1, "maple": 1, "spark2_5": 1}
"""Sliding windows: the period when the file has no pattern key; layer i is full when i mod n = n - 1. 1 is all full (the engine wants the key)."""
FULL_FIRST = frozenset(("cohere2moe", "smallthinker", "modern-bert", "laguna"))
"""Here layer i is full when i mod n = 0."""
DEFAULT_WINDOWS = {"gemma2": 4096, "llama4": 8192, "exaone4": 4096, "exaone-moe": 128}
FIXED_WINDOWS = {"llama4": 8192, "smallthinker": 4096}
"""The engine takes these whatever the file says, unless it says 0."""
RECURRENT = {"mamba": "mamba1", "mamba2": "mamba2", "rwkv6": "rwkv", "rwkv6qwen2": "rwkv", "rwkv7": "rwkv", "arwkv7": "rwkv"}
"""State in every layer and no cache."""
HYBRID = {"jamba": "mamba1", "plamo2": "mamba2", "granitehybrid": "mamba2", "falcon-h1": "mamba2", "nemotron_h": "mamba2", "nemotron_h_moe": "mamba2",
          "lfm2": "conv", "lfm2moe": "conv", "qwen3next": "delta", "qwen35": "delta", "qwen35moe": "delta", "kimi-linear": "kda", "bailingmoe3": "kda",
          "kimi-k3": "kda", "minimax-01": "lightning"}
"""State in some layers, cache in the others (falcon-h1: both in each)."""
FULL_EVERY = {"qwen3next": 4, "qwen35": 4, "qwen35moe": 4, "minimax-01": 8}
"""Hybrids whose every n-th layer has attention when the file does not list the recurrent ones."""
INDEXED = frozenset(("deepseek32", "glm-dsa", "minimax-m3"))
"""A second cache beside the first holds the keys of an indexer, and values that the engine allocates with them unless attention is latent."""


@dataclass(frozen=True)
class Layer:
    """One layer's cache and state: `kv_heads` 0 is no cache; `key` and `value` are head sizes, `index` an indexer's key, in elements."""

    kv_heads: int
    key: int
    value: int
    window: bool = False
    recurrent: bool = False
    index: int = 0


@dataclass(frozen=True)
class Shape:
    """A model as the memory formulas need it. Sizes in elements, `state_bytes` for one layer and one slot.

    `block` names the recurrent block: mamba1, mamba2, delta, kda, lightning, rwkv, conv or None. `window` is in tokens.
    `mla` caches one latent row a token and no values. `cached` is False for encoders, `causal` where a token sees the later ones too.
    """

    architecture: str
    cached: bool
    causal: bool
    embedding: int
    vocabulary: int
    heads: int
    layers: tuple[Layer, ...]
    window: int
    mla: bool
    block: str | None
    state_bytes: int
    notes: tuple[str, ...]


def shape_of(header: Header) -> Shape:
    """Raises `FleetError` when the header lacks the number of layers or the width."""
    name, notes = header.architecture, []
    for key in ("block_count", "embedding_length"):
        if not header.get(key):
            raise FleetError("The model cannot be planned without its shape", f"architecture {name}", f"no {key}",
                             "Check that the file is a language model and not a projector or an adapter.")
    known = is_known(name)
    if not known:
        notes.append(f"The architecture {name} is not known here: every layer is planned with full attention, compute with a margin.")
    if not header.complete:
        notes.append("Only the start of the header was read: keys behind the vocabulary are not in this plan.")
    block = RECURRENT.get(name) or HYBRID.get(name) or (None if known else _guess_block(header))
    window = _window(header)
    return Shape(
        architecture=name, cached=name not in CACHELESS,
        causal=known and name not in NONCAUSAL and header.causal is not False, embedding=header.get("embedding_length"),
        vocabulary=header.vocab_size,
        heads=largest(header.get("attention.head_count")), layers=_layers(header, window, known), window=window,
        mla=known and bool(header.get("attention.key_length_mla")), block=block, state_bytes=_state_bytes(header, block), notes=tuple(notes))


def is_known(name: str) -> bool:
    """Whether the architecture is one of those above."""
    return name in DENSE or name in WINDOWED or name in ENCODERS or name in RECURRENT or name in HYBRID


def uncached(model: Shape) -> bool:
    """Attention over the tokens of a micro-batch alone (two have a cache and do not read it)."""
    return not model.cached or model.architecture in ("llama-embed", "t5encoder")


def all_logits(header: Header, embeddings: bool) -> bool:
    """Whether logits of every token are computed, not only of the last one of each slot."""
    return header.architecture in ALL_LOGITS or (embeddings and header.architecture not in NO_LOGITS and not header.pooling_type)


def largest(value: Any) -> int:
    """The largest of a number or a per-layer list, 0 when absent."""
    return max(value, default=0) if isinstance(value, list) else (value or 0)


def at_layer(value: Any, index: int) -> int:
    """A number, or a per-layer list's entry (its last one for layers beyond it)."""
    if isinstance(value, list):
        return value[min(index, len(value) - 1)] if value else 0
    return value or 0


def _window(header: Header) -> int:
    """Tokens of the window the engine uses, 0 for none: a window key alone means nothing for most architectures."""
    name, window = header.architecture, largest(header.get("attention.sliding_window"))
    if name == "lfm2":
        return window
    if name not in WINDOWED or (name == "exaone4" and header.get("block_count") != 64):  # the small one is all full
        return 0
    if name in FIXED_WINDOWS:
        unsaid = header.get("attention.sliding_window") is None and name in DEFAULT_WINDOWS
        return FIXED_WINDOWS[name] if window or unsaid else 0
    return window or DEFAULT_WINDOWS.get(name, 0)


def slides(header: Header, index: int) -> bool:
    """Whether a layer of a windowed architecture slides."""
    if header.architecture in HYBRID:
        return True
    pattern = header.get("attention.sliding_window_pattern")
    if isinstance(pattern, list):
        return bool(at_layer(pattern, index))
    period = WINDOWED[header.architecture] if pattern is None or isinstance(pattern, bool) else pattern
    if period == 0:
        return True
    return index % period != 0 if header.architecture in FULL_FIRST else index % period < period - 1


def _layers(header: Header, window: int, known: bool) -> tuple[Layer, ...]:
    """Each layer of the main model; layers that only predict further tokens are not in its cache."""
    count = header.get("block_count")
    if known:
        count = max(1, count - (header.get("nextn_predict_layers") or 0))
    shared = _layers_without_own_cache(header) if known else 0
    return tuple(_layer(header, index, bool(window) and slides(header, index), index >= count - shared) for index in range(count))


def _layers_without_own_cache(header: Header) -> int:
    """The last layers of gemma3n (all after the 20th) and gemma4 use the cache of an earlier one."""
    if header.architecture == "gemma3n":
        return max(0, header.get("block_count") - 20)
    return header.get("attention.shared_kv_layers") or 0 if header.architecture == "gemma4" else 0


def _layer(header: Header, index: int, slides: bool, shares: bool) -> Layer:
    name, heads = header.architecture, at_layer(header.get("attention.head_count"), index)
    stored = header.get("attention.head_count_kv")
    kv_heads = heads if stored is None else at_layer(stored, index)
    recurrent = _is_recurrent(header, index, kv_heads)
    if name in CACHELESS or name in RECURRENT or shares or (recurrent and name in HYBRID and name != "falcon-h1"):
        kv_heads = 0
    key, value = _head_sizes(header, slides)
    index = (header.get("attention.indexer.key_length") or 0) if (name in INDEXED or not is_known(name)) and index_cached(header, index) else 0
    return Layer(kv_heads, key, value, slides and bool(kv_heads), recurrent, index)


def index_cached(header: Header, index: int) -> bool:
    """minimax-m3 has no indexer in its leading dense layers; glm-dsa trained for a million tokens has it in its first ones and in each fourth."""
    if header.architecture == "glm-dsa" and (header.get("context_length") or 0) >= 1 << 20:
        return index < 2 or index % 4 == 2
    return header.architecture != "minimax-m3" or index >= (header.get("leading_dense_block_count") or 0)


def _head_sizes(header: Header, slides: bool) -> tuple[int, int]:
    """Of keys and of values. The engine's default is the width divided by the heads of the first layer."""
    heads = at_layer(header.get("attention.head_count"), 0)
    default = header.get("embedding_length") // heads if heads else 0
    key, value = (header.get(f"attention.{part}_length") or default for part in ("key", "value"))
    if slides:
        key, value = header.get("attention.key_length_swa") or key, header.get("attention.value_length_swa") or value
    return key, value


def _is_recurrent(header: Header, index: int, kv_heads: int) -> bool:
    name = header.architecture
    if name in RECURRENT or name == "falcon-h1":
        return True
    if name not in HYBRID:  # unknown: state in every layer, besides its cache
        return not is_known(name) and _guess_block(header) is not None
    if name in FULL_EVERY:
        listed = header.get("attention.recurrent_layers")
        if isinstance(listed, list):
            return bool(at_layer(listed, index))
        return (index + 1) % (header.get("full_attention_interval") or FULL_EVERY[name]) != 0
    if name.startswith("nemotron_h"):
        return kv_heads == 0 and at_layer(header.get("feed_forward_length"), index) == 0
    return kv_heads == 0


def _guess_block(header: Header) -> str | None:
    kinds = [kind for kind, key in (("mamba2", "ssm.inner_size"), ("kda", "kda.head_dim"), ("rwkv", "wkv.head_size")) if header.get(key)]
    return max(kinds, key=lambda kind: _state_bytes(header, kind), default=None)


def _state_bytes(header: Header, block: str | None) -> int:
    """F32 state of one recurrent layer and one slot (llama_hparams::n_embd_r and n_embd_s)."""
    width = header.get("embedding_length")
    if block is None:
        return 0
    if block == "conv":
        return 4 * width * max(0, (header.get("shortconv.l_cache") or 1) - 1)
    if block == "rwkv":
        return 4 * width * ((header.get("token_shift_count") or 2) + (header.get("wkv.head_size") or 64))
    kernel = max(0, (header.get("ssm.conv_kernel") or 4) - 1)
    if block == "lightning":
        head = _head_sizes(header, False)[0]
        return 4 * largest(header.get("attention.head_count")) * head * head
    if block == "kda":
        head = header.get("kda.head_dim") or 128
        inner = largest(header.get("attention.head_count")) * head
        return 4 * (3 * kernel * inner + head * inner)
    inner, state, groups = header.get("ssm.inner_size") or 2 * width, header.get("ssm.state_size") or 16, header.get("ssm.group_count") or 0
    return 4 * (kernel * (inner + 2 * groups * state) + state * inner)
