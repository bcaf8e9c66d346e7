"""Writes small GGUF files for tests: the header is real, the tensor data is a hole in the file."""
from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable, Mapping, Sequence

KINDS = {"u8": (0, "B"), "i8": (1, "b"), "u16": (2, "H"), "i16": (3, "h"), "u32": (4, "I"), "i32": (5, "i"), "f32": (6, "f"),
         "bool": (7, "?"), "string": (8, ""), "u64": (10, "Q"), "i64": (11, "q"), "f64": (12, "d")}
BLOCKS = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q5_0": (6, 32, 22), "Q8_0": (8, 32, 34), "Q4_K": (12, 256, 144),
          "Q6_K": (14, 256, 210), "IQ4_NL": (20, 32, 18), "MXFP4": (39, 32, 17)}


@dataclass(frozen=True)
class Typed:
    """A value with a GGUF type of its own, for keys that the usual mapping would write otherwise."""

    kind: str
    value: Any


@dataclass(frozen=True)
class Tensor:
    """A tensor info; `shape` is fastest dimension first, `offset` and `type_number` override what is right."""

    name: str
    shape: Sequence[int]
    kind: str = "F32"
    offset: int | None = None
    type_number: int | None = None

    @property
    def size(self) -> int:
        _number, block, block_bytes = BLOCKS[self.kind]
        elements = 1
        for dimension in self.shape:
            elements *= dimension
        return elements // block * block_bytes


def string(text: str | bytes) -> bytes:
    """u64 length and bytes."""
    raw = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(raw)) + raw


def _kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return {int: "u32", float: "f32", str: "string", bytes: "string"}[type(value)]


def value(item: Any) -> bytes:
    """Type number and value of a key."""
    kind, plain = (item.kind, item.value) if isinstance(item, Typed) else (None, item)
    if isinstance(plain, (list, tuple)):
        kind = kind or _kind_of(plain[0])
        return struct.pack("<IIQ", 9, KINDS[kind][0], len(plain)) + b"".join(_scalar(kind, one) for one in plain)
    kind = kind or _kind_of(plain)
    return struct.pack("<I", KINDS[kind][0]) + _scalar(kind, plain)


def _scalar(kind: str, plain: Any) -> bytes:
    return string(plain) if kind == "string" else struct.pack("<" + KINDS[kind][1], plain)


def header(keys: Mapping[str, Any] | Iterable[tuple[str, Any]], tensors: Sequence[Tensor] = (), version: int = 3, alignment: int = 32) -> bytes:
    """The bytes of a header; `keys` may be pairs, so that a key can occur twice."""
    pairs = list(keys.items()) if isinstance(keys, Mapping) else list(keys)
    out = [b"GGUF", struct.pack("<IQQ", version, len(tensors), len(pairs))]
    out += [string(name) + value(item) for name, item in pairs]
    end = 0
    for tensor in tensors:
        offset = end if tensor.offset is None else tensor.offset
        number = BLOCKS[tensor.kind][0] if tensor.type_number is None else tensor.type_number
        out.append(string(tensor.name) + struct.pack(f"<I{len(tensor.shape)}QIQ", len(tensor.shape), *tensor.shape, number, offset))
        end = -(-(offset + tensor.size) // alignment) * alignment
    return b"".join(out)


def data_size(tensors: Sequence[Tensor], alignment: int = 32) -> int:
    """Bytes of the tensor data."""
    return sum(-(-tensor.size // alignment) * alignment for tensor in tensors)


def write(path: Path, keys: Mapping[str, Any] | Iterable[tuple[str, Any]], tensors: Sequence[Tensor] = (), alignment: int = 32) -> Path:
    """A sparse GGUF file at `path`."""
    raw = header(keys, tensors, alignment=alignment)
    start = -(-len(raw) // alignment) * alignment
    with path.open("wb") as stream:
        stream.write(raw)
        stream.truncate(start + data_size(tensors, alignment))
    return path


def dense(architecture: str = "llama", layers: int = 2, embedding: int = 256, feed_forward: int = 512, heads: int = 4, kv_heads: int = 2,
          vocabulary: int = 64, **more: Any) -> dict[str, Any]:
    """Keys of a small dense model; `more` are further architecture keys, `__` stands for a dot."""
    keys: dict[str, Any] = {
        "general.architecture": architecture, "general.name": "tiny", "general.license": "mit", f"{architecture}.block_count": layers,
        f"{architecture}.context_length": 4096, f"{architecture}.embedding_length": embedding,
        f"{architecture}.feed_forward_length": feed_forward, f"{architecture}.attention.head_count": heads,
        f"{architecture}.attention.head_count_kv": kv_heads}
    keys.update({f"{architecture}.{name.replace('__', '.')}": item for name, item in more.items()})
    keys["tokenizer.ggml.model"] = "gpt2"
    keys["tokenizer.ggml.tokens"] = [f"t{number}" for number in range(vocabulary)]
    keys["tokenizer.chat_template"] = "{{ messages }}"
    keys["general.file_type"] = 15
    return keys


def dense_tensors(layers: int = 2, embedding: int = 256, feed_forward: int = 512, vocabulary: int = 64, kind: str = "Q4_K", tied: bool = False) -> list[Tensor]:
    """Tensor infos of such a model: embedding, output unless tied, and two products a layer."""
    found = [Tensor("token_embd.weight", (embedding, vocabulary), "Q6_K")]
    if not tied:
        found.append(Tensor("output.weight", (embedding, vocabulary), "Q6_K"))
    for layer in range(layers):
        found += [Tensor(f"blk.{layer}.attn_norm.weight", (embedding,)), Tensor(f"blk.{layer}.ffn_up.weight", (embedding, feed_forward), kind),
                  Tensor(f"blk.{layer}.attn_q.weight", (embedding, embedding), kind)]
    return found
