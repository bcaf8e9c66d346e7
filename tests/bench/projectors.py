"""Memory of projectors: what is planned against the engine's own buffer line and the process's RssAnon, while it reads an image of 12 megapixels.

Files have the header of a real projector (keys, tensor infos) over weights that are a hole in the file. Each row of `PROJECTORS` is a kind that
llama.cpp knows, with the sizes of the model it is named after. Dimensions are words: a tensor is `name A B`, fastest dimension first; `name!`
has a bias too. Layers are few: buffers do not depend on their number.
"""
from __future__ import annotations

import base64
import os
import re
import struct
import subprocess
import tempfile
import threading
import zlib
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Iterator, Mapping, Sequence

from ansible_collections.localai.fleet.plugins.module_utils._explain import explain
from ansible_collections.localai.fleet.plugins.module_utils._gguf import FileSource, read_header
from ansible_collections.localai.fleet.plugins.module_utils._memory import MIB, Settings
from ansible_collections.localai.fleet.plugins.module_utils._mmproj import image_tokens
from gguf_writer import Tensor, Typed, write

from tests.bench.memory import ask, await_ready, command, engine, isa, rss_anon
from tests.bench.shapes import ATTENTION, TIED, ShapeFile, llama
from tests.bench.shapes import GATED as TEXT_GATED
from tests.bench.shapes import build as build_text
from tests.bench.tables import show

SPLIT = "attn_q! E E; attn_k! E E; attn_v! E E; attn_out! E E; "
BARE = "attn_q E E; attn_k E E; attn_v E E; attn_out E E; "
PLAIN = "ln1! E; ln2! E; " + SPLIT + "ffn_up! E F; ffn_down! F E"
GATED = "ln1 E; ln2 E; " + BARE + "ffn_gate E F; ffn_up E F; ffn_down F E"
PATCHES = "v.patch_embd! P P 3 E; v.position_embd E N; "


@dataclass(frozen=True)
class ProjectorFile:
    """One projector: `top` and `layer` are templates of tensors, `keys` are those of `clip.vision.`, `flags` those of `clip.`."""

    kind: str
    image: int
    patch: int
    width: int
    hidden: int
    text: int
    layer: str
    top: str
    heads: int = 16
    merge: int = 1
    positions: int = 0
    layers: int = 3
    keys: Mapping[str, Any] = field(default_factory=dict)
    flags: Mapping[str, Any] = field(default_factory=dict)


def _tensors(template: str, prefix: str, words: Mapping[str, int]) -> Iterator[Tensor]:
    for text in filter(None, (part.strip() for part in template.split(";"))):
        name, *shape = text.split()
        sizes = [words[word] if word in words else int(word) for word in shape]
        bare, plain = name.endswith("."), name.rstrip("!.")
        kind = "F16" if len(sizes) > 1 and "position" not in plain and not bare else "F32"
        full = f"{prefix}{plain}" if bare else f"{prefix}{plain}.weight"
        yield Tensor(full, sizes, kind)
        if name.endswith("!"):
            yield Tensor(f"{prefix}{plain}.bias", [words["E"]] if plain == "v.patch_embd" else sizes[-1:])


def tensors(item: ProjectorFile) -> Iterator[Tensor]:
    """All tensor infos."""
    width, merge = item.width, item.merge
    words = {"E": width, "3E": 3 * width, "F": item.hidden, "D": item.text, "P": item.patch, "M": width * merge * merge, "S": merge, "H": width // item.heads,
             "N": item.positions or (item.image // item.patch) ** 2}
    yield from _tensors(item.top, "", words)
    for index in range(item.layers):
        yield from _tensors(item.layer, f"v.blk.{index}.", words)


def build(item: ProjectorFile, path: Path) -> Path:
    """Write the file; its weights take no room on disk."""
    vision = {
        "image_size": item.image, "patch_size": item.patch, "embedding_length": item.width, "feed_forward_length": item.hidden, "block_count": item.layers,
        "attention.head_count": item.heads, "attention.layer_norm_epsilon": 1e-6, "projection_dim": item.text, "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3, **item.keys}
    keys = {"general.architecture": "clip", "general.type": "mmproj", "general.name": "shape", "general.file_type": Typed("u32", 1),
            "clip.has_vision_encoder": True, "clip.projector_type": item.kind, "clip.use_gelu": True, **item.flags}
    return write(path, {**keys, **{f"clip.vision.{name}": value for name, value in vision.items()}}, list(tensors(item)))


_SIGLIP = {"patch": 14, "width": 1152, "hidden": 4304, "layer": PLAIN}
_QWEN = "v.patch_embd P P 3 E; v.patch_embd.weight.1. P P 3 E; v.post_ln! E; mm.0! M M; mm.2! M D"
_PIXTRAL = "v.patch_embd P P 3 E; v.pre_ln E; mm.1! E D; mm.2! D D; v.token_embd.img_break. D"
_SCALE = "projector.scale_factor"
_SILU = {"clip.use_gelu": False, "clip.use_silu": True}
PROJECTORS: dict[str, ProjectorFile] = {
    "gemma-3-4b": ProjectorFile("gemma3", 896, text=2560, merge=4, top=PATCHES + "v.post_ln! E; mm.input_projection D E; mm.soft_emb_norm E", **_SIGLIP),
    "smolvlm-256m": ProjectorFile("idefics3", 512, 16, 768, 3072, 576, PLAIN, PATCHES + "v.post_ln! E; mm.model.fc M D", 12, 4,
                                  keys={_SCALE: 4, "preproc_image_size": 2048}),
    "smolvlm2-2.2b": ProjectorFile("idefics3", 384, text=2048, merge=3, top=PATCHES + "v.post_ln! E; mm.model.fc M D",
                                   keys={_SCALE: 3, "preproc_image_size": 1536}, **_SIGLIP),
    "lfm2-vl-1.6b": ProjectorFile("lfm2", 256, 16, 1152, 4304, 2048, PLAIN, PATCHES + "v.post_ln! E; mm.input_norm! M; mm.1! M 2560; mm.2! 2560 D", 16, 2,
                                  keys={_SCALE: 2}),
    "janus-pro-7b": ProjectorFile("janus_pro", 384, 16, 1024, 4096, 4096, PLAIN, PATCHES + "v.post_ln! E; mm.0! E D; mm.1! D D"),
    "llava-1.5-7b": ProjectorFile("mlp", 336, 14, 1024, 4096, 4096, PLAIN, "v.class_embd. E; v.patch_embd P P 3 E; v.position_embd E 577; v.pre_ln! E; "
                                  "mm.0! E D; mm.2! D D"),
    "llava-1.6-7b": ProjectorFile("mlp", 336, 14, 1024, 4096, 4096, PLAIN, "v.class_embd. E; v.patch_embd P P 3 E; v.position_embd E 577; v.pre_ln! E; "
                                  "mm.0! E D; mm.2! D D", keys={"image_grid_pinpoints": Typed("i32", [336, 672, 672, 336, 672, 672, 1008, 336, 336, 1008])}),
    "qwen2-vl-7b": ProjectorFile("qwen2vl_merger", 560, 14, 1280, 5120, 3584, PLAIN, _QWEN, 16, 2),
    "qwen2.5-vl-7b": ProjectorFile("qwen2.5vl_merger", 560, 14, 1280, 3420, 3584, "ln1 E; ln2 E; " + SPLIT + "ffn_gate! E F; ffn_up! E F; ffn_down! F E",
                                   _QWEN, 16, 2, keys={"n_wa_pattern": 8}, flags=_SILU),
    "qwen3-vl-8b": ProjectorFile("qwen3vl_merger", 768, 16, 1152, 4304, 4096, "ln1! E; ln2! E; attn_qkv! E 3E; attn_out! E E; ffn_up! E F; ffn_down! F E",
                                 "v.patch_embd.weight.1. P P 3 E; " + PATCHES + "v.post_ln! E; mm.0! M M; mm.2! M D; " + "; ".join(
                                     f"v.deepstack.{index}.norm! M; v.deepstack.{index}.fc1! M M; v.deepstack.{index}.fc2! M D" for index in (1, 3, 5)),
                                 16, 2, layers=7, keys={"spatial_merge_size": 2, "is_deepstack_layers": [index in (1, 3, 5) for index in range(7)]}),
    "pixtral-12b": ProjectorFile("pixtral", 1024, 16, 1024, 4096, 5120, GATED, _PIXTRAL, flags=_SILU),
    "mistral-small-3.1": ProjectorFile("pixtral", 1540, 14, 1024, 4096, 5120, GATED, _PIXTRAL + "; mm.input_norm E; mm.patch_merger M E", 16, 2,
                                       keys={"spatial_merge_size": 2}, flags=_SILU),
    "internvl3-8b": ProjectorFile("internvl", 448, 14, 1024, 4096, 3584, PLAIN + "; ls1 E; ls2 E", "v.class_embd. E; v.patch_embd! P P 3 E; "
                                  "v.position_embd E 1025; mm.model.mlp.0! M; mm.model.mlp.1! M D; mm.model.mlp.3! D D", 16, 2, keys={_SCALE: 2}),
    "minicpm-v-2.6": ProjectorFile("resampler", 448, text=3584, positions=4900, top=PATCHES + "v.post_ln! E; resampler.pos_embed_k. D 4900; "
                                   "resampler.query. D 64; resampler.proj D D; resampler.kv E D; " + "; ".join(
                                       f"resampler.attn.{name}! D D" for name in ("q", "k", "v", "out")) + "; resampler.ln_q! D; "
                                   "resampler.ln_kv! D; resampler.ln_post! D", flags={"clip.minicpmv_version": Typed("i32", 3)}, **_SIGLIP),
    "llama-4-scout": ProjectorFile("llama4", 336, 14, 1408, 5632, 5120, PLAIN, "v.class_embd. E; v.patch_embd 588 E; v.position_embd E 577; v.pre_ln! E; "
                                   "v.post_ln! E; mm.model.mlp.1 M 4096; mm.model.mlp.2 4096 4096; mm.model.fc 4096 D", 16, 2, keys={_SCALE: 2}),
    "kimi-vl-a3b": ProjectorFile("kimivl", 896, text=2048, merge=2, top=PATCHES + "v.post_ln! E; mm.input_norm! E; mm.1! M M; mm.2! M D", keys={_SCALE: 2},
                                 **_SIGLIP),
    "gemma-4-e4b": ProjectorFile("gemma4v", 768, 16, 768, 3072, 2560, "attn_q_norm H; attn_k_norm H; attn_post_norm E; ffn_post_norm E; " + GATED,
                                 "v.patch_embd P P 3 E; v.position_embd E N 2; mm.input_projection E D", 12, 3, 10_240, keys={_SCALE: 3}),
}


MARK = "<image>"
LINE = re.compile(r"reserve_compute_meta: .* compute buffer size =\s+([0-9.]+) MiB")
CONTEXT = 4096
PHOTO = 4000, 3000
MARKED = frozenset("idefics3 lfm2 resampler llama4".split())
"""Kinds that put tokens of their own text models between tiles: the small model here has none, so that only a tile's buffer is measured."""
APART = "qwen3vl_merger"
"""The kind whose text model must take more than one embedding a token."""


def photo(width: int, height: int, first: int) -> str:
    """A PNG with something in it, as base64; another one for another `first` value."""
    rows = (b"\0" + bytes((first + value) % 251 for value in range(3 * width))) * height
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b""))
    data = b"".join(struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks)
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + data).decode()


def measure(home: Path, text: Path, projector: Path, settings: Settings, reads: bool) -> dict[str, int]:
    """Bytes of the encoder's buffer as the engine says it, and the most of RssAnon until the end of two requests with an image each.

    The engine tells the buffer of the first graph: of its warm-up, or without one of the image.
    """
    words = [*command(home, text, settings), "--mmproj", str(projector), *(["--no-warmup"] if reads else [])]
    words += ["--image-max-tokens", str(settings.image_tokens)] if settings.image_tokens else []
    with tempfile.TemporaryDirectory() as scratch:
        log, seen, done = Path(scratch) / "log", [0], threading.Event()
        with log.open("wb") as stream:
            environment = {**os.environ, "LC_ALL": "C", "LLAMA_MEDIA_MARKER": MARK}
            process = subprocess.Popen(words, stdout=stream, stderr=subprocess.STDOUT, env=environment)

        def watch() -> None:
            with suppress(OSError):  # the process ended
                while not done.wait(0.02):
                    seen.append(rss_anon(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            await_ready(process, log)
            for turn in range(2 if reads else 0):  # the second is unpacked beside the buffers of the first
                ask("/completion", {"prompt": {"prompt_string": f"{MARK} a", "multimodal_data": [photo(*PHOTO, turn)]}, "n_predict": 1})
        finally:
            done.set()
            watcher.join()
            process.terminate()
            process.wait(timeout=30)
        sizes = LINE.findall(log.read_text(encoding="utf-8", errors="replace"))
        found = {"buffers": max((int(float(size) * MIB) for size in sizes), default=0)}
        return {**found, "anonymous": max(seen)} if reads else found


def rows(names: Sequence[str] = ()) -> Iterator[list[str]]:
    """Rows of text: projector, term, predicted, measured, ratio."""
    yield ["PROJECTOR", "TERM", "PREDICTED", "MEASURED", "PREDICTED / MEASURED"]
    home = engine()
    with tempfile.TemporaryDirectory() as scratch:
        for name in names or [name for name, item in PROJECTORS.items() if item.kind != APART]:
            item = PROJECTORS[name]
            shape = ShapeFile("llama", ATTENTION + TEXT_GATED, llama(1, item.text, 512, 4, 4), TIED, vocabulary=2000, tokenizer="llama")
            text, projector = build_text(shape, Path(scratch) / "text.gguf"), build(item, Path(scratch) / "projector.gguf")
            header, seeing = read_header(FileSource(str(text)), exact=True), read_header(FileSource(str(projector)))
            settings = Settings(context=CONTEXT, isa=isa(), projector=seeing.file_size or 0, projector_header=seeing,
                                image_tokens=image_tokens(seeing, CONTEXT, 1, 512))
            try:
                measured = measure(home, text, projector, settings, item.kind not in MARKED)
            except (RuntimeError, OSError) as error:
                print(f"{name}: {error}")
                continue
            planned = {term.name.rpartition(".")[2]: term.bytes for term in explain(header, settings) if term.name in ("projector.buffers", "anonymous")}
            for term, size in measured.items():
                yield [name, term, f"{planned[term] / MIB:.2f}", f"{size / MIB:.2f}", f"{planned[term] / size:.4f}" if size else "-"]


def run() -> None:
    """One process after the other."""
    show("Memory of projectors of a few layers beside a small text model, MiB (a photo of 12 megapixels; `anonymous` is the whole process)", rows())
