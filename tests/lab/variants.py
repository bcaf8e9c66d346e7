"""Other files of the lab's model, good and deliberately bad, and how they come into its Hub as a new commit.

`publish(root, name)` puts one in the place of the model's file in the Hub repository of an instance; `publish(root, "")` puts the model itself back.
"""
from __future__ import annotations

import os
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Iterator

from .model import CACHE, FILE, REPOSITORY, ensure_model

ALIGNMENT = 32
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY, U32 = 8, 9, 4
PLAIN_LINES = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant:"
CHATML = "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"


@dataclass(frozen=True)
class Tensor:
    """Name, shape, type number, and where its bytes are in the model: place and size; None for as many zeros."""

    name: str
    shape: tuple[int, ...]
    kind: int
    place: int | None
    size: int


@dataclass
class Gguf:
    """A file in parts: keys with their raw values (type and bytes), and tensors. `turn` moves the rows of the tensor of a name by so many bytes."""

    keys: dict[str, bytes]
    tensors: list[Tensor]
    source: Path
    turn: dict[str, int] = field(default_factory=dict)


def string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def read(path: Path) -> Gguf:
    """The parts of a GGUF file."""
    with path.open("rb") as file:
        _magic, _version, count, keys = struct.unpack("<4sIQQ", file.read(24))
        found = {}
        for _index in range(keys):
            name = _text(file)
            start = file.tell()
            _skip(file, struct.unpack("<I", file.read(4))[0])
            end = file.tell()
            file.seek(start)
            found[name] = file.read(end - start)
        infos = [_info(file) for _index in range(count)]
        data = -(-file.tell() // ALIGNMENT) * ALIGNMENT
    ends = sorted([offset for *_rest, offset in infos] + [path.stat().st_size - data])
    following = dict(zip(ends, ends[1:]))
    return Gguf(found, [Tensor(name, shape, kind, data + offset, following[offset] - offset) for name, shape, kind, offset in infos], path)


def _text(file: Any) -> str:
    return file.read(struct.unpack("<Q", file.read(8))[0]).decode()


def _skip(file: Any, kind: int) -> None:
    if kind == STRING:
        file.seek(struct.unpack("<Q", file.read(8))[0], os.SEEK_CUR)
    elif kind == ARRAY:
        inner, count = struct.unpack("<IQ", file.read(12))
        for _index in range(count if inner == STRING else 0):
            _skip(file, STRING)
        file.seek(0 if inner == STRING else count * struct.calcsize(SCALARS[inner]), os.SEEK_CUR)
    else:
        file.seek(struct.calcsize(SCALARS[kind]), os.SEEK_CUR)


def _info(file: Any) -> tuple[str, tuple[int, ...], int, int]:
    name = _text(file)
    dimensions = struct.unpack("<I", file.read(4))[0]
    shape = struct.unpack(f"<{dimensions}Q", file.read(8 * dimensions))
    return (name, shape, *struct.unpack("<IQ", file.read(12)))


def write(made: Gguf, path: Path) -> None:
    """The parts as a file, put in place at once."""
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(made.tensors), len(made.keys))
    head += b"".join(string(name) + raw for name, raw in made.keys.items())
    offset = 0
    for tensor in made.tensors:
        head += string(tensor.name) + struct.pack(f"<I{len(tensor.shape)}QIQ", len(tensor.shape), *tensor.shape, tensor.kind, offset)
        offset += -(-tensor.size // ALIGNMENT) * ALIGNMENT
    fresh = path.with_name(f".{path.name}.new")
    with fresh.open("wb") as out, made.source.open("rb") as source:
        out.write(head)
        for tensor in made.tensors:
            out.write(b"\0" * (-out.tell() % ALIGNMENT))
            out.write(_bytes(made, tensor, source))
        out.write(b"\0" * (-out.tell() % ALIGNMENT))
    os.replace(fresh, path)


def _bytes(made: Gguf, tensor: Tensor, source: Any) -> bytes:
    if tensor.place is None:
        return b"\0" * tensor.size
    source.seek(tensor.place)
    data = source.read(tensor.size)
    turn = made.turn.get(tensor.name, 0)
    return data[turn:] + data[:turn]


def same(made: Gguf) -> Gguf:
    """The same model in other bytes."""
    made.keys["general.description"] = struct.pack("<I", STRING) + string("The same weights, published again.")
    return made


def plain(made: Gguf) -> Gguf:
    """With a template of plain lines, which a base model understands."""
    made.keys["tokenizer.chat_template"] = struct.pack("<I", STRING) + string(PLAIN_LINES)
    return made


def template(made: Gguf) -> Gguf:
    """With the template of another family: its words are no tokens here, and leak."""
    made.keys["tokenizer.chat_template"] = struct.pack("<I", STRING) + string(CHATML)
    return made


def gibberish(made: Gguf) -> Gguf:
    """Every token means another one: the rows of the embedding are moved."""
    tensor = next(tensor for tensor in made.tensors if tensor.name == "token_embd.weight")
    made.turn[tensor.name] = 70_000 * (tensor.size // tensor.shape[1])
    return made


def slow(made: Gguf, times: int = 6) -> Gguf:
    """The same answers, slower: more blocks, which add nothing because what they write is multiplied by zeros."""
    blocks = 1 + max(int(tensor.name.split(".")[1]) for tensor in made.tensors if tensor.name.startswith("blk."))
    made.tensors += list(_idle(made.tensors, blocks, times))
    made.keys["gemma3.block_count"] = struct.pack("<II", U32, times * blocks)
    return made


def _idle(tensors: list[Tensor], blocks: int, times: int) -> Iterator[Tensor]:
    for copy in range(1, times):
        for tensor in list(tensors):
            if tensor.name.startswith("blk."):
                _blk, number, rest = tensor.name.split(".", 2)
                silent = rest in ("attn_output.weight", "ffn_down.weight")
                yield replace(tensor, name=f"blk.{int(number) + copy * blocks}.{rest}", place=None if silent else tensor.place)


def big(made: Gguf) -> Gguf:
    """A header that asks for more memory than any server of the lab has."""
    made.keys["gemma3.block_count"] = struct.pack("<II", U32, 4_000)
    return made


VARIANTS = {function.__name__: function for function in (same, plain, template, gibberish, slow, big)}


def build(name: str, target: Path, cache: Path = CACHE) -> None:
    """Make a variant of the lab's model; the empty name is the model itself."""
    model = ensure_model(cache)
    made = read(model)
    write(VARIANTS[name](made) if name else made, target)


def publish(root: Path, name: str, cache: Path = CACHE) -> Path:
    """Have the Hub below `root` offer a variant as the newest commit of the model's repository; the empty name is the model itself again."""
    target = root / REPOSITORY / FILE
    if name:
        build(name, target, cache)
    else:
        target.unlink(missing_ok=True)
        ensure_model(cache, root)
    return target
