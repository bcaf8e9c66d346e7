# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""How the blocks of architectures differ in what their graphs hold: one row each.

An architecture without a row has no known graph: its compute buffer is planned by `_compute`'s bounds.
"""
from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Iterable

from ._gguf import Header
from ._shape import Layer, Shape, at_layer, largest, uncached


@dataclass(frozen=True)
class Style:
    """What differs. Names of nodes are as in `_blocks`.

    `order` of the products q, k and v. `copied`: positions or norms make new queries and keys. `fused`: the three come from one product;
    None where files have either (`kinds` finds which). `wide` is that product: "embedding" with the embedding in the queries' place, "thrice" it.
    `gate` of attention's result: "query" comes with the queries, "wide" and "heads" are products of their own, as wide as the queries or one number
    a head.
    `ffn`: gated, plain, or joined (gate and up in one product). `parallel` to attention: the feed-forward of attention's norm, "first"
    attention's output, then it; "last" it, then attention's output; "late" the residual between them; "own" like late with a norm of its own;
    "after" the feed-forward of attention's output, then both sums.
    `before` and `after`: norms before each part, or after each sum. `inplace`: norms work in place (those by root mean square do).
    `placed`: positions are embedded. `scaled`: embeddings are scaled by row. `positions` of a token.
    `residual` comes first in the sums after attention, forward, or both.
    `early`: the last layer chooses its rows before attention's output; `late`: after the first sum.
    `weights` of experts: words of norm, raw, bias, apart, before.
    `shared` experts: "" no, "add", "gate" (weighted), "dense" (a dense feed-forward beside), "chunks" (experts once more, of another width).
    `router` sees what the experts see, or the layer's input: "source"; "source all": the experts see it too, beside a dense feed-forward.
    `normed`: the embeddings are. `skip`: they are added to each layer. `joined`: gate and up of experts are one product.
    `unpacked`: keys and values come from a latent row. `masked`: so many logits are masked, in a copy of all.
    `apart_from` so many tensors a layer on, the feed-forward beside attention has a norm of its own. `mixed`: embeddings as input are mixed in.
    `indexed`: an indexer chooses what attention sees. `post`: a norm before the sum copies what is a view.
    `biased`: scores get a bias by distance, so that there is no flash attention. `unchosen`: the last layer goes on with all rows.
    `crossed`: each layer attends to what an encoder gave, too.
    `version` of RWKV. `tempered`: queries are scaled by their positions, "all" or those that no positions turn ("unturned").
    `between`: a norm between attention's result and its output matrix copies what is a view.
    `again`: the layer's input is added once more, to the norm of its sum with attention's output.
    """

    order: str = "qvk"
    copied: bool = True
    fused: bool | None = False
    wide: str = ""
    gate: str = ""
    ffn: str = "gated"
    parallel: str = ""
    before: bool = True
    after: bool = False
    inplace: bool = True
    placed: bool = False
    scaled: bool = False
    positions: int = 1
    residual: str = ""
    early: bool = False
    late: bool = False
    weights: str = "norm"
    shared: str = ""
    router: str = ""
    normed: bool = False
    skip: bool = False
    joined: bool = False
    unpacked: bool = False
    masked: int = 0
    again: bool = False
    mixed: bool = True
    apart_from: int = 0
    indexed: bool = False
    post: bool = False
    biased: bool = False
    unchosen: bool = False
    crossed: bool = False
    version: int = 0
    tempered: str = ""
    between: bool = False


def _rows(names: str, style: Style) -> Iterable[tuple[str, Style]]:
    return ((name, style) for name in names.split())


_PLACED = Style(copied=False, fused=True, ffn="plain", placed=True, inplace=False)
_ENCODER = Style(order="qkv", before=False, after=True, inplace=False, ffn="plain")
STYLES: dict[str, Style] = dict((
    *_rows("""llama qwen2 qwen3 qwen3moe gemma deci exaone ernie4_5 hunyuan-dense internlm2 maincoder minicpm nanbeige
        pangu-embedded seed_oss xverse smollm3 minimax-m2 minimax-01 mamba mamba2""", Style()), ("mistral3", Style(tempered="all")),
    ("bitnet", Style(between=True)), ("falcon-h1", Style(late=True)),
    *_rows("olmo orion stablelm", Style(inplace=False)),
    *_rows("granite granitemoe granitehybrid hunyuan-moe ernie4_5-moe", Style(shared="add")), ("granite_swa", Style(order="qkv", shared="add")),
    ("chatglm", Style(fused=None, ffn="joined")), ("phi3", Style(fused=None, ffn="joined", residual="forward")),
    ("phimoe", Style(residual="forward")),
    *_rows("apertus arcee", Style(ffn="plain")), *_rows("nemotron jais2 starcoder2", Style(ffn="plain", inplace=False)),
    *_rows("gpt2 mpt starcoder", _PLACED), ("bloom", replace(_PLACED, placed=False)),
    *_rows("baichuan refact", Style(copied=False)),
    ("jais", Style(copied=False, fused=True, inplace=False)), ("codeshell", Style(fused=None, ffn="plain", inplace=False)),
    ("gptneox", Style(fused=True, ffn="plain", inplace=False, parallel="own")),
    ("falcon", Style(fused=True, ffn="plain", inplace=False, parallel="last", apart_from=8)),
    ("phi2", Style(fused=None, ffn="plain", inplace=False, parallel="first")),
    ("plamo", Style(parallel="last")), ("command-r", Style(parallel="late", inplace=False)), ("cohere2", Style(parallel="late", inplace=False, order="qkv")),
    ("qwen", Style(fused=True, wide="thrice")), ("dbrx", Style(fused=True, inplace=False)),
    ("openelm", Style(fused=True, residual="attention", early=True)),
    *_rows("qwen2vl qwen3vl qwen3vlmoe hunyuan_vl paddleocr", Style(positions=4)),
    ("glm4", Style(positions=4, ffn="joined")),
    *_rows("gemma2 gpt-oss mellum mimo2", Style(order="qkv")), *_rows("gemma3 gemma3n gemma4", Style(order="qkv", scaled=True)),
    *_rows("olmo2 exaone4", Style(order="qkv", before=False)),
    *_rows("olmoe qwen2moe deepseek", Style(weights="", shared="add")),
    *_rows("deepseek2 dots1 mistral4 deepseek2-ocr", Style(weights="bias norm", shared="add")),
    ("hy_v3", Style(weights="bias norm", shared="add")), ("bailingmoe", Style(shared="add")), ("talkie", Style(normed=True, skip=True)),
    *_rows("muse-glimmer afmoe", Style(order="qkv", gate="wide", weights="bias norm", shared="add")), ("plamo3", Style(order="qkv", fused=True, ffn="joined")),
    ("plamo2", Style(fused=True, ffn="joined", post=True)),
    *_rows("laguna spark2_5 step35", Style(order="qkv", gate="heads", weights="bias norm", shared="add")),
    *_rows("deepseek32 glm-dsa minimax-m3", Style(weights="bias norm", shared="add", indexed=True)),
    ("kimi-linear", Style(copied=False, weights="bias norm", shared="add")),
    ("cogvlm", Style(fused=True, mixed=False, unchosen=True)), ("chameleon", Style(masked=8192)), ("minicpm3", Style(unpacked=True)),
    ("plm", Style(unpacked=True, ffn="plain")),
    ("cohere2moe", Style(order="qkv", parallel="late", shared="add")), ("grovemoe", Style(weights="apart norm", shared="chunks")),
    ("smallthinker", Style(order="qkv", router="source")), ("arctic", Style(router="source all")),
    ("glm4moe", Style(positions=4, weights="bias norm", shared="add")), ("bailingmoe2", Style(fused=True, wide="embedding", weights="bias norm", shared="add")),
    ("grok", Style(shared="dense")), ("llama4", Style(order="qkv", tempered="unturned", weights="before", shared="add")),
    ("exaone-moe", Style(order="qkv", weights="bias norm", shared="add")),
    ("jamba", Style(copied=False, weights="", residual="attention forward")),
    *_rows("lfm2 lfm2moe", Style(order="qkv", residual="attention forward", early=True, weights="bias norm")),
    *_rows("nemotron_h nemotron_h_moe", Style(copied=False, ffn="plain", weights="bias norm", shared="add")),
    *_rows("qwen35 qwen35moe", Style(gate="query", positions=4, shared="gate")), ("qwen3next", Style(gate="query", shared="gate")),
    ("bert", replace(_ENCODER, copied=False)), ("jina-bert-v2", replace(_ENCODER, ffn="gated", fused=None, again=True)),
    ("nomic-bert-moe", replace(_ENCODER, fused=None, weights="")),
    ("nomic-bert", replace(_ENCODER, fused=None, ffn="gated")),
    ("jina-bert-v3", replace(_ENCODER, fused=None)),
    ("rwkv6", Style(inplace=False, version=6)), ("rwkv7", Style(inplace=False, version=7)),
    ("t5encoder", Style(order="qkv", copied=False, biased=True)), ("t5", Style(copied=False, biased=True, crossed=True)),
    *_rows("llama-embed eurobert dream llada llada-moe rnd1", Style(order="qkv")), ("gemma-embedding", Style(order="qkv", scaled=True)),
    ("neo-bert", Style(order="qkv", fused=True, ffn="joined")),
    ("modern-bert", Style(order="qkv", fused=True, wide="thrice", ffn="joined", inplace=False, normed=True))))
WIDE = frozenset("""llama granite granitemoe granite_swa granitehybrid dbrx phimoe minimax-m2 olmoe hunyuan-moe mistral3 minicpm jamba
    llama-embed minimax-01 arctic nomic-bert-moe""".split())
"""`feed_forward_length` is the width of an expert, whatever another key says."""
_HEAVY = Style(order="qkv", gate="wide", inplace=False, weights="bias norm", shared="add", unchosen=True)
GUESSES = (_HEAVY, replace(_HEAVY, fused=True, ffn="joined"), replace(_HEAVY, biased=True))
"""How an architecture without a row may be; among them the largest is planned."""
CROSSED = replace(_HEAVY, biased=True, crossed=True)
"""How it may be, too, where it decodes what an encoder gave."""
MIXTURES = frozenset("""afmoe arctic bailingmoe bailingmoe2 cohere2moe dbrx deepseek deepseek2 deepseek2-ocr deepseek32 dots1 ernie4_5-moe exaone-moe gemma4
    glm-dsa glm4moe gpt-oss granite granite_swa granitehybrid granitemoe grok grovemoe hunyuan-moe hy_v3 jamba kimi-linear laguna lfm2moe llada-moe
    llama llama-embed llama4 mellum mimo2 minicpm minimax-01 minimax-m2 minimax-m3 mistral3 mistral4 nemotron_h nemotron_h_moe nomic-bert-moe olmoe phimoe
    qwen2moe qwen35moe qwen3moe qwen3next qwen3vlmoe rnd1 smallthinker step35""".split())
"""Architectures that read the keys of experts."""
EITHER = frozenset("cohere2moe deepseek2 deepseek2-ocr mistral4 granite_swa hy_v3 qwen35moe qwen3next gemma4".split())
"""Files have gate and up of experts in one product or in two; which is not in their keys."""
LEADING = frozenset("""deepseek deepseek2 deepseek2-ocr glm4moe dots1 bailingmoe2 mistral4 exaone-moe ernie4_5-moe lfm2moe afmoe laguna hy_v3 cohere2moe
    step35 deepseek32 glm-dsa kimi-linear minimax-m3""".split())
"""The first `leading_dense_block_count` layers are no mixtures."""


def kinds(header: Header, style: Style) -> Iterable[Style]:
    """The style with what differs between files of an architecture: as their tensors say, else each that there may be."""
    fused: tuple[bool, ...] = (True, False) if style.fused is None else (style.fused,)
    joined: tuple[bool, ...] = (False, True) if header.architecture in EITHER and header.get("expert_used_count") else (False,)
    if header.tensors is not None:
        layers = header.get("block_count") - (header.get("nextn_predict_layers") or 0)
        matrices, experts = (sum(group.count for group in header.tensors if group.role == role) for role in ("matrix", "experts"))
        if style.fused is None:  # 4 or 5 products a layer, else 6 or 7 (a layer of nomic-bert-moe with experts has one less), and up to 2 of a classifier
            fused = (2 * matrices < 11 * layers,)
        if len(joined) > 1:  # 2 tensors of experts in a mixture, else 3
            joined = (2 * experts < 5 * sum(mixed(header, index) for index in range(layers)),)
    parts = header.architecture != "jina-bert-v2"  # one product leaves no room for its norms of queries and keys
    return (replace(style, fused=one, joined=other, copied=style.copied and (parts or not one)) for one in fused for other in joined)


def guessed(header: Header) -> tuple[Style, ...]:
    """How the layers of an architecture without a row may be."""
    return (*GUESSES, CROSSED) if header.get("decoder_block_count") or header.get("attention.relative_buckets_count") else GUESSES


def copied(header: Header, layer: Layer, index: int, style: Style) -> bool:
    """Whether positions or norms make new queries and keys in this layer."""
    name = header.architecture
    if name in ("cohere2", "cohere2moe"):
        return layer.window or (name == "cohere2moe" and index < (header.get("leading_dense_block_count") or 0))
    if name == "granitehybrid":  # those whose keys no position turns are said to be trained for a million tokens
        return (header.get("context_length") or 0) < 1 << 20
    if name == "baichuan":  # the one of 32 layers turns keys, the others have a bias by distance
        return header.get("block_count") == 32
    if name == "smallthinker":
        return not header.get("attention.sliding_window") or header.get("block_count") == 4 or index % 4 != 0
    if name == "smollm3" or (name == "llama4" and header.get("attention.sliding_window") != 0):
        return (index + 1) % 4 != 0
    return style.copied


def deepstack(architecture: str) -> int:
    """Embeddings that come beside that of a token and are added to the first layers: qwen3vl has three in all sizes."""
    return 3 if architecture in ("qwen3vl", "qwen3vlmoe") else 0


def order(model: Shape, style: Style) -> str:
    """Which of the products q, k and v comes first: where no layer has a window, those of windowed architectures are as in others."""
    windows = any(layer.window for layer in model.layers) or uncached(model) or model.architecture.startswith("lfm2")
    return style.order if windows else "qvk"


def placed(model: Shape, layer: Layer, index: int) -> bool:
    """Whether positions turn the queries and keys that norms have copied."""
    name = model.architecture
    if name == "afmoe":
        return (index + 1) % 4 != 0
    return layer.window or not (name in ("muse-glimmer", "jina-bert-v2") or (name in ("exaone4", "exaone-moe") and model.window))


def mixed(header: Header, index: int) -> bool:
    """Whether a layer is a mixture of experts."""
    name, get = header.architecture, header.get
    if not get("expert_used_count") or (name in STYLES and name not in MIXTURES):
        return False
    if name == "nomic-bert-moe":
        return bool(get("moe_every_n_layers")) and index % get("moe_every_n_layers") == 1
    if name == "llama4":
        return (index + 1) % (get("interleave_moe_layer_step") or 1) == 0
    if name.startswith("nemotron_h"):
        return forward_only(header, index)
    return name not in LEADING or index >= (get("leading_dense_block_count") or 0)


def forward_only(header: Header, index: int) -> bool:
    """Whether a layer of nemotron_h is a feed-forward alone."""
    heads, width = at_layer(header.get("attention.head_count_kv"), index), at_layer(header.get("feed_forward_length"), index)
    return header.architecture.startswith("nemotron_h") and not heads and bool(width)


def forward_width(header: Header, index: int) -> int:
    """The width of a layer's dense feed-forward (half of qwen's key is the gate)."""
    width = at_layer(header.get("feed_forward_length"), index)
    return width // 2 if header.architecture == "qwen" else width


def expert_width(header: Header, index: int) -> int:
    """The width of one expert."""
    width, own = at_layer(header.get("feed_forward_length"), index), at_layer(header.get("expert_feed_forward_length"), index)
    if header.architecture not in STYLES:
        return max(width, own)
    return width if header.architecture in WIDE else own or width


def shared_width(header: Header, index: int) -> int:
    """The width of the experts that every token uses, together."""
    own = largest(header.get("expert_shared_feed_forward_length"))
    return own or (header.get("expert_shared_count") or 0) * expert_width(header, index)
