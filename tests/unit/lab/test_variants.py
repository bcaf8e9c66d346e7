"""Other files of the lab's model: what is changed, and that nothing else is."""
from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.lab import variants
from tests.lab.variants import ALIGNMENT, STRING, U32, Gguf, Tensor, string


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A small file: an embedding of four rows, and two blocks."""
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * 2)
    tensors = [Tensor("token_embd.weight", (32, 4), 24, 0, 128)]
    tensors += [Tensor(f"blk.{number}.{name}", (32,), 24, 128 + 32 * index, 32)
                for index, (number, name) in enumerate((n, t) for n in (0, 1) for t in ("attn_output.weight", "ffn_down.weight", "ffn_up.weight"))]
    keys = {"general.architecture": struct.pack("<I", STRING) + string("gemma3"), "gemma3.block_count": struct.pack("<II", U32, 2),
            "tokenizer.ggml.tokens": struct.pack("<IIQ", 9, STRING, 2) + string("a") + string("bc"),
            "tokenizer.ggml.scores": struct.pack("<IIQ2f", 9, 6, 2, 0.0, 1.0)}
    path = tmp_path / "model.gguf"
    variants.write(Gguf(keys, tensors, source), path)
    return path


def data(path: Path, name: str) -> bytes:
    made = variants.read(path)
    tensor = next(tensor for tensor in made.tensors if tensor.name == name)
    return path.read_bytes()[tensor.place:tensor.place + tensor.size]


def variant(model: Path, name: str) -> Path:
    target = model.with_name(f"{name}.gguf")
    variants.write(variants.VARIANTS[name](variants.read(model)), target)
    return target


def test_a_file_that_is_read_and_written_is_the_same(model: Path) -> None:
    again = model.with_name("again.gguf")
    variants.write(variants.read(model), again)
    assert again.read_bytes() == model.read_bytes()
    assert model.stat().st_size % ALIGNMENT == 0


@pytest.mark.parametrize("name", ["same", "plain", "template", "big"])
def test_other_words_in_the_header_leave_the_weights(model: Path, name: str) -> None:
    made = variant(model, name)
    assert made.read_bytes() != model.read_bytes()
    for tensor in variants.read(model).tensors:
        assert data(made, tensor.name) == data(model, tensor.name)


def test_templates_differ(model: Path) -> None:
    assert b"<|im_start|>" in variant(model, "template").read_bytes()
    assert b"<|im_start|>" not in variant(model, "plain").read_bytes()


def test_gibberish_moves_the_rows_of_the_embedding(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = variants.read(model)
    made.turn["token_embd.weight"] = 32
    target = model.with_name("turned.gguf")
    variants.write(made, target)
    before = data(model, "token_embd.weight")
    assert data(target, "token_embd.weight") == before[32:] + before[:32]
    assert data(target, "blk.0.ffn_up.weight") == data(model, "blk.0.ffn_up.weight")
    assert variants.gibberish(variants.read(model)).turn["token_embd.weight"] % 32 == 0


def test_slow_adds_blocks_that_write_nothing(model: Path) -> None:
    made = variant(model, "slow")
    found = variants.read(made)
    assert found.keys["gemma3.block_count"] == struct.pack("<II", U32, 12)
    assert len([tensor for tensor in found.tensors if tensor.name.endswith("ffn_up.weight")]) == 12
    for block in range(2, 12):
        assert not any(data(made, f"blk.{block}.attn_output.weight")) and not any(data(made, f"blk.{block}.ffn_down.weight"))
        assert data(made, f"blk.{block}.ffn_up.weight") == data(model, f"blk.{block % 2}.ffn_up.weight")
