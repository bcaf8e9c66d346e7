"""Header bytes read in both modes: the lab's real model, and generated headers as large as those of real vocabularies."""
from __future__ import annotations

import struct
import tempfile
from pathlib import Path
from typing import Any

from ansible_collections.localai.fleet.plugins.module_utils._gguf import FileSource, Header, read_header
from gguf_writer import Typed, dense, dense_tensors, header

from tests.bench.tables import show, timed
from tests.lab.model import ensure_model

FILE_SIZE = 300_000_000
"""Bytes of the generated files (holes, but for the header): the smallest for which plan mode promises 0.1 %."""
VOCABULARIES = (
    ("gemma-4", 262_144, 514_906, 15_780_000), ("command-r", 256_000, 253_333, 10_870_000), ("llama-3", 128_256, 280_147, 7_820_000),
    ("nomic-bert-moe", 250_048, 0, 6_820_000), ("gemma-3", 262_144, 0, 6_510_000), ("qwen3", 151_936, 151_387, 5_930_000),
    ("aquila", 100_008, 99_743, 4_830_000), ("deepseek-llm", 102_400, 99_757, 3_970_000), ("falcon", 65_024, 64_784, 2_290_000),
    ("gpt2", 50_257, 50_000, 1_750_000), ("baichuan", 64_000, 0, 1_340_000), ("deepseek-coder", 32_256, 31_757, 1_160_000),
    ("phi-3", 32_064, 0, 720_000), ("bert", 30_522, 0, 630_000))
"""Name, tokens, merges, and bytes of the key section as they were measured in public files; the texts here are filled up to that size."""


class Counted(FileSource):
    """A file read as a server would be: within the limit of requests, and counting them."""

    counted, requests = True, 0

    def read_at(self, offset: int, count: int, deadline: float) -> bytes:
        """Up to `count` bytes from `offset`."""
        self.requests += 1
        return super().read_at(offset, count, deadline)


def texts(count: int, size: int) -> list[bytes]:
    """`count` texts that take `size` bytes with their lengths."""
    each, more = divmod(max(0, size - 8 * count), count) if count else (0, 0)
    return [b"x" * (each + (index < more)) for index in range(count)]


def generated(path: Path, tokens: int, merges: int, size: int) -> Path:
    """A sparse file whose key section has `size` bytes."""
    keys: dict[str, Any] = dense(layers=32, embedding=4096, feed_forward=14_336, heads=32, kv_heads=8, vocabulary=1)
    late = {"general.file_type": keys.pop("general.file_type"), "tokenizer.chat_template": "x" * 3_000}
    del keys["tokenizer.chat_template"]
    fixed = 4 * tokens + (0 if merges else 4 * tokens) + len(header({**keys, **late})) + 200
    share = (size - fixed) * tokens // (tokens + 2 * merges)
    keys["tokenizer.ggml.tokens"] = texts(tokens, share)
    if not merges:
        keys["tokenizer.ggml.scores"] = Typed("f32", [0.0] * tokens)
    keys["tokenizer.ggml.token_type"] = Typed("i32", [1] * tokens)
    if merges:
        keys["tokenizer.ggml.merges"] = texts(merges, size - fixed - share)
    raw = header({**keys, **late}, dense_tensors(layers=32, vocabulary=1024))
    path.write_bytes(raw)
    with path.open("r+b") as stream:
        stream.truncate(FILE_SIZE)
    return path


def cost(path: Path, exact: bool) -> tuple[Header, list[str]]:
    """The header, and what it took: bytes, share of the file, requests, seconds."""
    source = Counted(str(path))
    found, seconds = timed(lambda: read_header(source, exact=exact))
    return found, [f"{found.bytes_read:,}", f"{100 * found.bytes_read / (found.file_size or 1):.3f} %", str(source.requests // 3), f"{seconds:.3f}"]


def real(model: Path) -> None:
    """What reading the header of the lab's real model costs."""
    rows = [["MODE", "BYTES READ", "OF FILE", "REQUESTS", "SECONDS"], *([mode, *cost(model, mode == "exact")[1]] for mode in ("plan", "exact"))]
    show(f"Header of {model.name} ({model.stat().st_size:,} bytes)", rows)


def vocabularies() -> None:
    """The same for generated headers."""
    rows = [["VOCABULARY", "TOKENS", "KEY SECTION", "PLAN: BYTES READ", "OF FILE", "REQUESTS", "SECONDS",
             "EXACT: BYTES READ", "OF FILE", "REQUESTS", "SECONDS"]]
    with tempfile.TemporaryDirectory() as scratch:
        for name, tokens, merges, size in VOCABULARIES:
            path = generated(Path(scratch) / f"{name}.gguf", tokens, merges, size)
            plan, first = cost(path, exact=False)
            exact, second = cost(path, exact=True)
            same = plan.vocab_size == exact.vocab_size == tokens and plan.parameters == exact.parameters
            rows.append([name, f"{tokens:,}" if same else "differs", f"{key_section(path):,}", *first, *second])
            path.unlink()
    show(f"Generated headers with vocabularies of the sizes of public files, files of {FILE_SIZE:,} bytes", rows)


def key_section(path: Path) -> int:
    """Bytes before the first tensor info, whose name is known."""
    with path.open("rb") as stream:
        return stream.read(32 << 20).find(struct.pack("<Q", 17) + b"token_embd.weight")


def run() -> None:
    """Both tables."""
    real(ensure_model())
    vocabularies()
