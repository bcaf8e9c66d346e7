"""The few fields of a GGUF header from which LocalAI guesses defaults."""
from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Optional

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MAX_STRING = 1 << 24
_MAX_PAIRS = 1 << 16


@dataclass(frozen=True)
class Guess:
    """Trained context in tokens (0: not said), and whether the file brings a chat template."""

    context: int = 0
    chat_template: bool = False


def guess(path: Path) -> Guess:
    """Read the header of `path`; an unreadable or foreign file gives the empty guess."""
    try:
        return _read(path, path.stat().st_mtime_ns)
    except OSError:
        return Guess()


@lru_cache(maxsize=64)
def _read(path: Path, _changed: int) -> Guess:
    try:
        with path.open("rb") as stream:
            return _guess(stream)
    except (OSError, ValueError, struct.error):
        return Guess()


def _guess(stream: BinaryIO) -> Guess:
    if stream.read(4) != b"GGUF":
        return Guess()
    _version, _tensors, pairs = struct.unpack("<IQQ", stream.read(20))
    context, template = 0, False
    for dummy in range(min(pairs, _MAX_PAIRS)):
        key = _string(stream)
        value = _value(stream, struct.unpack("<I", stream.read(4))[0])
        if key.endswith(".context_length"):
            context = int(value or 0)
        template = template or (key == "tokenizer.chat_template" and bool(value))
    return Guess(context, template)


def _string(stream: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", stream.read(8))
    if length > _MAX_STRING:
        raise ValueError("string too long")
    return stream.read(length).decode("utf-8", "replace")


def _value(stream: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _string(stream)
    if kind == _ARRAY:
        return _skip_array(stream)
    layout = "<" + _SCALARS[kind] if kind in _SCALARS else ""
    if not layout:
        raise ValueError(f"value type {kind}")
    return struct.unpack(layout, stream.read(struct.calcsize(layout)))[0]


def _skip_array(stream: BinaryIO) -> Optional[int]:
    kind, length = struct.unpack("<IQ", stream.read(12))
    if kind in _SCALARS:
        stream.seek(length * struct.calcsize("<" + _SCALARS[kind]), 1)
    elif kind == _STRING:
        for dummy in range(length):
            stream.seek(struct.unpack("<Q", stream.read(8))[0], 1)
    else:
        raise ValueError(f"array of type {kind}")
    return None
