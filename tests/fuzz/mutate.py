"""Changes that know where the fields of a header and the numbers of an HTTP answer are; blind changes seldom hit them."""
from __future__ import annotations

import re
import struct
from random import Random
from typing import Callable

from tests.fuzz.target import BREAK, SERVER

NUMBERS = (0, 1, 2, 3, 4, 7, 8, 9, 12, 13, 24, 31, 32, 63, 64, 255, 256, 4_096, 4_097, 65_535, 65_536, 65_537, 1_000_000, 1_000_001, 4_000_000, 4_000_001,
           1 << 23, (1 << 23) + 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, (1 << 32) + 1, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
NAMES = ("general.architecture", "general.alignment", "general.file_type", "general.name", "split.no", "split.count", "split.tensors.count",
         "llama.block_count", "llama.attention.head_count_kv", "llama.vocab_size", "llama.rope.scaling.factor",
         "tokenizer.ggml.tokens", "tokenizer.chat_template", "x")
LINES = (b"Content-Range: bytes 0-9/10", b"Content-Range: bytes */10", b"Content-Encoding: br", b"Transfer-Encoding: chunked", b"Content-Length: -1",
         b"Location: http://[", b"Location: http://other.example/\xff", b"Content-Length: 99999999999999999999", b"X: " + b"y" * 300)
WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}


def fields(data: bytes) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Places and widths of the numbers of a header, and start and end of its keys and tensor infos; as far as it can be followed."""
    numbers, items = [(4, 4), (8, 8), (16, 8)], []
    try:
        tensors, keys = struct.unpack_from("<QQ", data, 8)
        at = 24
        for _key in range(min(keys, 200)):
            start = at
            at = _text(data, at, numbers)
            at = _value(data, at, numbers)
            items.append((start, at))
        for _tensor in range(min(tensors, 200)):
            start = at
            at = _text(data, at, numbers)
            count = struct.unpack_from("<I", data, at)[0]
            numbers += [(at, 4), *((at + 4 + 8 * index, 8) for index in range(min(count, 4))), (at + 4 + 8 * count, 4), (at + 8 + 8 * count, 8)]
            at += 16 + 8 * count
            items.append((start, at))
    except (struct.error, OverflowError):  # a hostile length leads out of the data
        pass
    return [(place, width) for place, width in numbers if place + width <= len(data)], [item for item in items if item[1] <= len(data)]


def _text(data: bytes, at: int, numbers: list[tuple[int, int]]) -> int:
    numbers.append((at, 8))
    return at + 8 + struct.unpack_from("<Q", data, at)[0]


def _value(data: bytes, at: int, numbers: list[tuple[int, int]]) -> int:
    kind = struct.unpack_from("<I", data, at)[0]
    numbers.append((at, 4))
    at += 4
    if kind == 8:
        return _text(data, at, numbers)
    if kind != 9:
        numbers.append((at, WIDTHS.get(kind, 1)))
        return at + WIDTHS.get(kind, 1)
    inner, count = struct.unpack_from("<IQ", data, at)
    numbers += [(at, 4), (at + 4, 8)]
    at += 12
    if inner != 8:
        return at + count * WIDTHS.get(inner, 1)
    for _index in range(min(count, 1_000)):
        at = _text(data, at, numbers[:0] if count > 8 else numbers)
    return at


def a_number(data: bytearray, chance: Random) -> None:
    """Another value in a field."""
    places, _items = fields(bytes(data))
    place, width = chance.choice(places or [(0, 1)])
    old = int.from_bytes(data[place:place + width], "little")
    new = chance.choice((*NUMBERS, old + 1, old - 1, old * 2, old ^ (1 << chance.randrange(8 * width))))
    data[place:place + width] = (new % (1 << (8 * width))).to_bytes(width, "little")


def an_item(data: bytearray, chance: Random) -> None:
    """A key or a tensor info is said again, left out or moved; the counts follow, usually."""
    _places, items = fields(bytes(data))
    if not items:
        return
    start, end = chance.choice(items)
    piece, count = bytes(data[start:end]), struct.unpack_from("<Q", data, 16)[0]
    act = chance.randrange(3)
    if act != 0:
        del data[start:end]
    if act != 1:
        at = chance.choice([24, *(item[1] for item in items if item[1] <= len(data))])
        data[at:at] = piece
    if chance.random() < 0.8:
        struct.pack_into("<Q", data, 16, (count + (1, -1, 0)[act]) % (1 << 64))


def a_key(data: bytearray, chance: Random) -> None:
    """A new key of a name that matters, of a random type."""
    kind = chance.randrange(14)
    name = chance.choice(NAMES).encode()
    value = struct.pack("<Q", chance.choice(NUMBERS))[:WIDTHS.get(kind, 8)]
    if kind == 8:
        value = struct.pack("<Q", 5) + b"llama"
    elif kind == 9:
        value = struct.pack("<IQ", chance.randrange(13), chance.randrange(4)) + bytes(chance.randrange(40))
    data[24:24] = struct.pack("<Q", len(name)) + name + struct.pack("<I", kind) + value
    if len(data) >= 24:
        struct.pack_into("<Q", data, 16, (struct.unpack_from("<Q", data, 16)[0] + 1) % (1 << 64))


def an_answer(data: bytearray, chance: Random) -> None:
    """Another number or line in the head of an answer."""
    if chance.random() < 0.3:
        at = data.find(b"\r\n")
        if at >= 0:
            data[at:at] = b"\r\n" + chance.choice(LINES)
        return
    numbers = list(re.finditer(rb"\d+", data[:400]))
    if numbers:
        found = chance.choice(numbers)
        old = int(found.group()[:30])
        new = chance.choice((*NUMBERS[:30], old + 1, old - 1, 200, 206, 302, 416, 500, 10 ** 25))
        data[found.start():found.end()] = str(new).encode()


def mutated(data: bytes, most: int, seed: int, blind: Callable[[bytes, int], bytes]) -> bytes:
    """A changed input of at most `most` bytes; `blind` is the fuzzer's own way, taken half of the time."""
    chance = Random(seed)
    if len(data) < 8 or chance.random() < 0.5:
        return blind(data, most)
    head, parts = bytearray(data[:3]), [bytearray(part) for part in data[3:].split(BREAK)]
    for _change in range(chance.choice((1, 1, 2, 4))):
        part = chance.choice(parts)
        act = chance.randrange(12)
        if act == 0:
            head[chance.randrange(3)] = chance.randrange(256)
        elif act == 1:
            parts.append(bytearray(part))
        elif head[0] % 3 == SERVER and act < 9:
            an_answer(part, chance)
        elif len(part) >= 24:
            body = bytearray(part[max(part.find(b"GGUF"), 0):]) if head[0] % 3 == SERVER else part
            if len(body) >= 24:
                (a_number, a_number, an_item, a_key)[act % 4](body, chance)
            if body is not part:
                part[part.find(b"GGUF") if b"GGUF" in part else 0:] = body
    return (bytes(head) + BREAK.join(parts))[:most]
