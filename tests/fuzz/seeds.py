"""Inputs to start from: sound headers of every kind, and those that broke other readers."""
from __future__ import annotations

import struct
from typing import Any

import gguf_writer
from gguf_writer import Tensor, Typed, dense_tensors, header, string

from tests.fuzz.target import BREAK, HEADER, SERVER, SPLIT


def dense(architecture: str = "llama", **more: Any) -> dict[str, Any]:
    """Keys of a small model; short inputs run faster."""
    return gguf_writer.dense(architecture, **{"vocabulary": 4, **more})


def one(data: bytes, behaviour: int = 0, claim: int = 3) -> bytes:
    """A header behind a plain source that claims a megabyte of tensor data."""
    return bytes((HEADER, behaviour, claim)) + data


def answer(body: bytes, status: str = "206 Partial Content", **headers: str) -> bytes:
    """The bytes of an HTTP answer; `_` in a name stands for a dash."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def served(*answers: bytes) -> bytes:
    """Answers of a server, of a file whose size nobody announced."""
    return bytes((SERVER, 0, 1)) + BREAK.join(answers)


def split(*parts: bytes) -> bytes:
    """A split set."""
    return bytes((SPLIT, 0, 3)) + BREAK.join(parts)


def headers() -> list[bytes]:
    """Headers, sound and not."""
    rich = dense(attention__sliding_window=512, attention__sliding_window_pattern=[True, False], rope__scaling__type="yarn", rope__scaling__factor=2.5,
                 attention__causal=False, pooling_type=1, ssm__state_size=16, expert_count=8)
    start = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + string("a")
    pieces: list[tuple[Any, Any]] = [
        (dense(), ()), (dense(), dense_tensors(layers=1)), (dense(), dense_tensors(tied=True)), (rich, dense_tensors(layers=1)),
        (dense("gemma3", kv_heads=[1, 0]), ()),
        (dense(vocabulary=300), ()), ({"general.architecture": "bert", "general.alignment": 64}, [Tensor("a", (64,)), Tensor("b", (64,), offset=256)]),
        ({**dense(), "x": [1.5], "y": Typed("f64", 1.0), "z": Typed("u64", [1]), "n": Typed("i8", [1, 2])}, ()),
        ([*dense().items(), ("general.name", "again")], ()), (dense(), [Tensor("a", (32,)), Tensor("b", (32,), offset=32)]),
        (dense(), [Tensor("b", (32,), offset=128), Tensor("a", (32,), offset=0)]), (dense(), [Tensor("e_exps", (256, 4, 4), "Q4_K")])]
    return [header(keys, tensors) for keys, tensors in pieces] + [
        header(dense(), (), version=2), b"GGUF\0\0\0\3" + bytes(40), start + struct.pack("<IIQ", 9, 4, 1 << 63),
        start + struct.pack("<IIQ", 9, 9, 1) + bytes(20),
        start + struct.pack("<IQ", 8, 1 << 63), start + struct.pack("<IIQ", 9, 8, 3) + string("a") * 3]


def seeds() -> list[bytes]:
    """All inputs to start from."""
    whole = header(dense(), dense_tensors(layers=1))
    middle, size = len(whole) // 2, 1 << 20
    parts = [header({**dense(), "split.no": Typed("u16", 0), "split.count": Typed("u16", 2), "split.tensors.count": Typed("i32", 8)}, dense_tensors()[:4])]
    parts.append(header({"split.no": Typed("u16", 1), "split.count": Typed("u16", 2), "split.tensors.count": Typed("i32", 8)}, dense_tensors()[4:]))
    answers = [
        [answer(whole, Content_Range=f"bytes 0-{len(whole) - 1}/{size}")],
        [answer(whole[:middle], Content_Range=f"bytes 0-{middle - 1}/{size}"),
         answer(whole[middle:], Content_Range=f"bytes {middle}-{len(whole) - 1}/{size}")] * 2,
        [answer(whole, "200 OK")], [answer(b"", "302 Found", Location="http://other.example/x"), answer(whole, Content_Range=f"bytes 0-{len(whole) - 1}/*")],
        [answer(whole)], [answer(b"", "416 Range Not Satisfiable", Content_Range="bytes */5")], [answer(b"no", "403 Forbidden")], [b"refused"], [b"slow"],
        [answer(whole, Content_Encoding="gzip", Content_Range=f"bytes 0-9/{size}")],
        [b"HTTP/1.1 206 x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nGGUF\r\n0\r\n\r\n"],
        [answer(b"", "302 Found", Location="ftp://other.example/x")], [answer(b"", "301 x", Location="/again")] * 11, [b"hello"], [b""]]
    return [one(data) for data in headers()] + [one(whole, behaviour, claim) for behaviour in range(0, 32, 3) for claim in (0, 4, 255)] + [
        served(*made) for made in answers] + [split(*parts), split(*parts[::-1]), split(parts[0], parts[0]), split(parts[0])]
