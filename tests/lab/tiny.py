"""Models of real kinds with weights from a fixed sequence of numbers: they load and answer in a moment, and their answers mean nothing.

    python -m tests.lab.tiny FOLDER
"""
from __future__ import annotations

import math
import random
import struct
import sys
from pathlib import Path
from typing import Any, Mapping, Sequence

from tests.unit.gguf_writer import Tensor, Typed, header

EMBEDDING, FORWARD, HEADS, LAYERS, CONTEXT = 64, 128, 2, 2, 512
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,?!"
RANK, MEAN = 4, 1
TEXT_WIDTH = 640
"""Width of the lab's chat model, for which the projector makes vectors."""
IMAGE, PATCH = 56, 14


def embedding(path: Path, pooling: int | None = MEAN) -> Path:
    """An encoder that turns a text into one vector; without `pooling` its file does not say how."""
    return _write(path, {**_encoder(), **({"bert.pooling_type": Typed("u32", pooling)} if pooling is not None else {})}, _encoder_tensors())


def reranker(path: Path) -> Path:
    """An encoder that tells how well a text answers a question, with one output."""
    tensors = [*_encoder_tensors(), *_linear("cls", EMBEDDING, EMBEDDING), *_linear("cls.output", EMBEDDING, 1)]
    return _write(path, {**_encoder(), "bert.pooling_type": Typed("u32", RANK)}, tensors)


def split(folder: Path, count: int = 2) -> list[Path]:
    """The embedding model in several files, as they are called on the Hub; only the first has the keys of the model."""
    tensors = _encoder_tensors()
    size, found = -(-len(tensors) // count), []
    for number in range(count):
        keys = {"split.no": Typed("u16", number), "split.count": Typed("u16", count), "split.tensors.count": Typed("i32", len(tensors))}
        whole = {**_encoder(), "bert.pooling_type": Typed("u32", MEAN)} if number == 0 else {}
        path = folder / f"tiny-{number + 1:05d}-of-{count:05d}.gguf"
        found.append(_write(path, {**whole, **keys}, tensors[number * size:(number + 1) * size]))
    return found


def projector(path: Path) -> Path:
    """What makes one vector of the lab's chat model from an image."""
    keys = {
        "general.architecture": "clip", "general.type": "mmproj", "general.name": "tiny", "clip.has_vision_encoder": True, "clip.projector_type": "gemma3",
        "clip.use_gelu": True, "clip.vision.image_size": IMAGE, "clip.vision.patch_size": PATCH, "clip.vision.embedding_length": EMBEDDING,
        "clip.vision.feed_forward_length": FORWARD, "clip.vision.block_count": 1, "clip.vision.attention.head_count": HEADS,
        "clip.vision.attention.layer_norm_epsilon": 1e-6, "clip.vision.projection_dim": TEXT_WIDTH, "clip.vision.image_mean": [0.5] * 3,
        "clip.vision.image_std": [0.5] * 3}
    tensors = [Tensor("v.patch_embd.weight", (PATCH, PATCH, 3, EMBEDDING)), Tensor("v.patch_embd.bias", (EMBEDDING,)),
               Tensor("v.position_embd.weight", (EMBEDDING, (IMAGE // PATCH) ** 2)), *_norm("v.post_ln"),
               Tensor("mm.input_projection.weight", (TEXT_WIDTH, EMBEDDING)), Tensor("mm.soft_emb_norm.weight", (EMBEDDING,))]
    for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
        tensors += _linear(f"v.blk.0.{name}", EMBEDDING, EMBEDDING)
    tensors += [*_norm("v.blk.0.ln1"), *_norm("v.blk.0.ln2"), *_linear("v.blk.0.ffn_up", EMBEDDING, FORWARD), *_linear("v.blk.0.ffn_down", FORWARD, EMBEDDING)]
    return _write(path, keys, tensors)


def _encoder() -> dict[str, Any]:
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"\u2581{letter}" for letter in LETTERS), *LETTERS]
    special = {"unknown": 1, "seperator": 3, "padding": 0, "cls": 2, "bos": 2, "eos": 3, "mask": 4}
    return {
        "general.architecture": "bert", "general.name": "tiny", "bert.block_count": LAYERS, "bert.context_length": CONTEXT, "bert.embedding_length": EMBEDDING,
        "bert.feed_forward_length": FORWARD, "bert.attention.head_count": HEADS, "bert.attention.layer_norm_epsilon": 1e-12, "bert.attention.causal": False,
        "tokenizer.ggml.model": "bert", "tokenizer.ggml.token_type_count": Typed("u32", 2), "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": Typed("i32", [3] * 5 + [1] * (len(tokens) - 5)),
        **{f"tokenizer.ggml.{name}_token_id": Typed("u32", number) for name, number in special.items()}}


def _encoder_tensors() -> list[Tensor]:
    vocabulary = 5 + 2 * len(LETTERS)
    found = [Tensor("token_embd.weight", (EMBEDDING, vocabulary)), Tensor("position_embd.weight", (EMBEDDING, CONTEXT)),
             Tensor("token_types.weight", (EMBEDDING, 2)), *_norm("token_embd_norm")]
    for layer in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            found += _linear(f"blk.{layer}.{name}", EMBEDDING, EMBEDDING)
        found += [*_norm(f"blk.{layer}.attn_output_norm"), *_linear(f"blk.{layer}.ffn_up", EMBEDDING, FORWARD),
                  *_linear(f"blk.{layer}.ffn_down", FORWARD, EMBEDDING), *_norm(f"blk.{layer}.layer_output_norm")]
    return found


def _norm(name: str) -> list[Tensor]:
    return [Tensor(f"{name}.weight", (EMBEDDING,)), Tensor(f"{name}.bias", (EMBEDDING,))]


def _linear(name: str, before: int, after: int) -> list[Tensor]:
    return [Tensor(f"{name}.weight", (before, after)), Tensor(f"{name}.bias", (after,))]


def _write(path: Path, keys: Mapping[str, Any], tensors: Sequence[Tensor]) -> Path:
    """The file, the same bytes at each call: scales of a norm are one, everything else is small."""
    numbers = random.Random(path.suffix)
    raw = header(keys, tensors)
    with path.open("wb") as stream:
        stream.write(raw + b"\0" * (-len(raw) % 32))
        for tensor in tensors:
            count = math.prod(tensor.shape)
            scale = len(tensor.shape) == 1 and tensor.name.endswith(".weight")
            data = struct.pack(f"<{count}f", *([1.0] * count if scale else [numbers.gauss(0, 0.2) for dummy in range(count)]))
            stream.write(data + b"\0" * (-len(data) % 32))
    return path


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    print(*(str(make(folder / f"{make.__name__}.gguf")) for make in (embedding, reranker, projector)), sep="\n")
