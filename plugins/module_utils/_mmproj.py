# Copyright (c) 2026 localai.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# This file is private to the collection localai.fleet.
"""Memory of a projector, from its header: the buffers of the largest image that the engine lets through, and what it holds of that image.

The engine scales an image, or cuts it into tiles, by the projector's kind; for kinds that scale freely `image_max_tokens` is the limit, which
the plan sets. Sizes and limits are those of llama.cpp's `tools/mtmd`. Where the graph is known (`_vision`), the buffer is replayed on it.
"""
from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

from ._formula import Formula, largest_of, named
from ._gguf import Header
from ._graph import explained, replay
from ._shape import largest
from ._vision import LOOKS, Encoder, graph_of

IMAGE_TOKENS = 1024
"""Most tokens that one image may become: llama.cpp's own limit for pixtral and kimi-vl, and what Qwen-VL needs to point at things."""
BATCH_TOKENS = 1024
"""Tokens of tiles that the engine encodes at once, for kinds that can (`mtmd_batch_max_tokens`)."""
PHOTO = 12_000_000
"""Pixels of an image as it is sent: a phone's photo. Larger ones are served too, and need more for a moment."""
UNPACKING = 12
"""Bytes a pixel while an image is unpacked beside all buffers: 8 measured for PNG; a progressive JPEG has its coefficients, planes and pixels."""
GRAPH = 6 << 20
"""Descriptions of up to 8192 nodes, and what the heap keeps; 3 to 5 MiB measured."""
BOUND = 1 << 30
"""Buffers of a projector whose graph is not known; the largest known ones need 460 MiB at `IMAGE_TOKENS`."""
MAPS = 6
"""Bytes of a mask's element: 32 bits, and a copy in 16. The engine that was measured holds 2, that of LocalAI v4.9.0 may hold all."""


@dataclass(frozen=True)
class Kind:
    """`least` and `most` tokens of an image that is scaled freely; `tiles` that an image is cut into at most, with the whole; `merge` of patches a side
    where the header has none; `batched`: several tiles are encoded at once; `causal`: tokens of an image see only those before them."""

    least: int = 0
    most: int = 0
    tiles: int = 1
    merge: int = 1
    batched: bool = False
    causal: bool = True


_TILED, _QWEN = Kind(tiles=11), Kind(8, 4096, merge=2)
KINDS: dict[str, Kind] = {
    "gemma3": Kind(merge=4), "idefics3": Kind(tiles=26), "lfm2": Kind(64, 256, 11), "mlp": Kind(), "resampler": _TILED,
    "internvl": Kind(tiles=13, batched=True), "llama4": _TILED, "kimivl": Kind(8, 1024), "pixtral": Kind(8, 1024), "qwen2vl_merger": _QWEN,
    "qwen2.5vl_merger": _QWEN, "qwen3vl_merger": _QWEN, "gemma4v": Kind(70, 1120, merge=3, batched=True, causal=False),
    "gemma4uv": Kind(70, 1120, merge=3, causal=False), "ling3vl": _QWEN, "glm4v": _QWEN, "glm5v": _QWEN, "kimik25": Kind(2, 4096),
    "youtuvl": Kind(1, 62_500, merge=2), "hunyuanvl": Kind(256, 16_384, merge=2), "minimax_m3": Kind(8, 576, merge=2),
    "muse_glimmer": Kind(1, 4096, merge=2), "lightonocr": Kind(8, 1 << 20), "deepseek4v": Kind(16, 384),
    "deepseekocr": Kind(tiles=33, batched=True), "deepseekocr2": Kind(tiles=33, batched=True), "granite4_vision": Kind(tiles=11)}
"""Kinds that do more than scale an image to the header's size, or to its `image_max_pixels`."""
OWN_LIMIT = frozenset("hunyuanvl kimik25".split())
"""Of these, those that heed the header's `image_max_pixels` rather than ours."""


def kind_of(header: Header) -> str:
    """The projector's kind as the engine reads it; empty when the header has none."""
    name = str(header.get("projector_type") or header.get("vision.projector_type") or "")
    return "qwen2.5vl_merger" if name == "qwen2.5o" else name


def image_tokens(header: Header | None, context: int, slots: int, ubatch: int) -> int:
    """The limit of tokens for one image (`image_max_tokens`), 0 where the engine would not heed it: at most half of a slot's context.

    Without it images fail that are as large as the context; where tokens of an image see each other, the engine cuts one that no batch holds.
    """
    limit = min(IMAGE_TOKENS, max(64, context // slots // 2))
    if header is None:
        return limit
    kind = KINDS.get(kind_of(header))
    if kind and kind.most and not _own_limit(header):
        limit = min(limit, kind.most) if kind.causal else min(limit, kind.most, ubatch)
        return max(limit, kind.least)
    if kind_of(header) == "idefics3":  # a limit has it cut its tiles another way: only where they do not fit
        encoder, longest = encoder_of(header, 1, 0), header.get("vision.preproc_image_size")
        return 0 if encoder and longest and encoder.patches // encoder.merge ** 2 * _tiles(header) <= context // slots // 2 else limit
    return 0 if kind_of(header) else limit


def encoder_of(header: Header, text: int, tokens: int) -> Encoder | None:
    """Sizes of what one run reads, for a text model of this width; None when the header lacks them."""
    name, get = kind_of(header), header.get
    kind, width = KINDS.get(name, Kind()), largest(get("vision.embedding_length"))
    patch, image = get("vision.patch_size") or 0, get("vision.image_size") or 0
    if not width or not patch:
        return None
    merge = get("vision.spatial_merge_size") or get("vision.projector.scale_factor") or kind.merge
    patches = (image // patch) ** 2
    if kind.most and not _own_limit(header):
        patches = max(tokens * merge ** 2, (512 // patch) ** 2 if name == "lfm2" else 0)
    elif name == "resampler":  # tiles of long images have more
        patches += 5 * isqrt(patches)
    elif get("vision.image_max_pixels") and name not in LOOKS:
        patches = get("vision.image_max_pixels") // patch ** 2
    if name == "granite4_vision":  # all tiles in one
        patches *= kind.tiles
    if not patches:
        return None
    pieces = max(1, BATCH_TOKENS // max(1, patches // merge ** 2)) if kind.batched else 1
    deep = get("vision.is_deepstack_layers")
    extra = sum(map(bool, deep)) if isinstance(deep, list) else 3
    hidden = largest(get("vision.feed_forward_length")) or 4 * width
    return Encoder(width, hidden, text, patch, merge, patches, pieces, extra if name == "qwen3vl_merger" else 0)


def _own_limit(header: Header) -> bool:
    return kind_of(header) in OWN_LIMIT and bool(header.get("vision.image_max_pixels"))


def projector_bytes(size: int, header: Header | None, text: int, tokens: int, slots: int) -> Formula:
    """All anonymous bytes of a projector file of `size` bytes beside a text model of width `text`: weights are read, not mapped."""
    encoder = encoder_of(header, text, tokens) if header else None
    file, photo = named("file_of_projector", size), (UNPACKING * named("slots", slots) * named("photo_pixels", PHOTO)).called("photo")
    if header is None or encoder is None:
        return file + largest_of((BOUND, 2 * file)).called("buffers") + photo
    rows = named("patches", encoder.patches * encoder.pieces)
    image = _held(header, encoder, rows, slots).called("image")
    return file + _buffer(header, encoder).called("buffers") + _work(encoder, rows).called("work") + image + photo + GRAPH


def projector_notes(size: int, header: Header | None, text: int) -> tuple[str, ...]:
    """What makes the plan of a projector a bound, in words."""
    if not size:
        return ()
    if header is None or encoder_of(header, text, IMAGE_TOKENS) is None:
        return ("The projector's sizes are not known: its buffers are planned at a bound. A lock that is resolved again has them.",)
    name = kind_of(header)
    return () if name in LOOKS else (f"The graph of a projector of type {name or 'unknown'} is not known: its buffers are planned at a bound.",)


def _buffer(header: Header, encoder: Encoder) -> Formula:
    """The compute buffer of one run: of the known graph, else the largest phase of any known one."""
    name = kind_of(header)
    if name in LOOKS:
        return explained(*replay(graph_of(name, encoder)))
    rows, width, hidden = named("patches", encoder.patches * encoder.pieces), named("width", encoder.width), named("hidden", encoder.hidden)
    masks = header.get("vision.sam.head_count") or (1 if header.get("vision.n_wa_pattern") or header.get("vision.window_size") or name == "minicpmv4_6" else 0)
    found = 4 * rows * (3 * hidden + 9 * width) + MAPS * masks * rows * rows
    return largest_of((BOUND, found))


def _work(encoder: Encoder, rows: Formula) -> Formula:
    """Right sides of products in the type of their left ones: 16 bits beside weights of 16 (ggml_graph_plan)."""
    return 2 * rows * largest_of((named("hidden", encoder.hidden), named("width", encoder.width), named("embedding", encoder.text)))


def _held(header: Header, encoder: Encoder, rows: Formula, slots: int) -> Formula:
    """A slot's pixels of all tiles in floats, three times with what cutting them leaves, and its embeddings of one run.

    And the pixels of the run that is on, twice.
    """
    tokens = rows // encoder.merge ** 2
    pixels = 12 * named("patch", encoder.patch ** 2) * named("patches_a_tile", encoder.patches)
    rows_of = 2 if kind_of(header) == "pixtral" else 1 + encoder.extra  # a break after each row
    kept = pixels * (3 * _tiles(header)) + 4 * tokens * named("embedding", encoder.text) * rows_of
    return kept * named("slots", slots) + pixels * (2 * encoder.pieces)


def _tiles(header: Header) -> int:
    """Tiles of one image, with the whole."""
    name, get = kind_of(header), header.get
    longest, image = get("vision.preproc_image_size"), get("vision.image_size")
    if name == "idefics3" and longest and image:
        return (-(-longest // image)) ** 2 + 1
    points = get("vision.image_grid_pinpoints")
    if name == "mlp" and isinstance(points, list) and image:
        return max((-(-wide // image) * -(-high // image) for wide, high in zip(points[::2], points[1::2])), default=0) + 1
    if name == "internvl" and get("vision.preproc_max_tiles"):
        return get("vision.preproc_max_tiles") + 1
    return KINDS.get(name, Kind()).tiles
