"""A small repository of GGUF files for the lab's hub, served on loopback."""
from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

import gguf_writer

from tests.lab import hub

NAME = "acme/Tiny-GGUF"


def add_gguf(root: Path, path: str, name: str = NAME, file_type: int = 15, **keys: Any) -> str:
    """Writes a sound GGUF file into a repository below `root`; returns its sha256. `keys` replace or add header keys."""
    file = root / name / path
    file.parent.mkdir(parents=True, exist_ok=True)
    header = {**gguf_writer.dense(), "general.file_type": file_type, **{key.replace("__", "."): value for key, value in keys.items()}}
    gguf_writer.write(file, header, gguf_writer.dense_tensors())
    return hashlib.sha256(file.read_bytes()).hexdigest()


def make(root: Path) -> Path:
    """A usual repository: two quants, a projector, a card."""
    add_gguf(root, "tiny-Q4_K_M.gguf")
    add_gguf(root, "tiny-Q8_0.gguf", file_type=7)
    add_projector(root, "mmproj-F16.gguf")
    (root / NAME / "README.md").write_text("# Tiny\n")
    about(root, license="mit", tags=["gguf", "license:mit", "base_model:acme/Tiny", "base_model:quantized:acme/Tiny"])
    return root


def add_projector(root: Path, path: str, name: str = NAME, **keys: Any) -> str:
    """Writes what reads images for the models of a repository; returns its sha256."""
    file = root / name / path
    file.parent.mkdir(parents=True, exist_ok=True)
    header = {"general.architecture": "clip", "general.type": "mmproj", "clip.has_vision_encoder": True, "clip.projector_type": "mlp",
              "clip.vision.block_count": 2, "clip.vision.projection_dim": 256, "general.file_type": 1}
    gguf_writer.write(file, {**header, **keys}, [gguf_writer.Tensor("v.blk.0.attn_q.weight", (256, 256), "F16")])
    return hashlib.sha256(file.read_bytes()).hexdigest()


def add_split(root: Path, stem: str = "tiny-F16", count: int = 2, name: str = NAME) -> list[str]:
    """Writes a model in several files, its tensors shared out; returns the sha256 of each."""
    tensors, digests = gguf_writer.dense_tensors(), []
    for part in range(count):
        file, mine = root / name / f"{stem}-{part + 1:05}-of-{count:05}.gguf", tensors[part::count]
        keys = {"split.no": gguf_writer.Typed("u16", part), "split.count": gguf_writer.Typed("u16", count), "split.tensors.count": len(tensors)}
        file.parent.mkdir(parents=True, exist_ok=True)
        gguf_writer.write(file, {**(gguf_writer.dense() if part == 0 else {}), "general.file_type": 1, **keys}, mine)
        digests.append(hashlib.sha256(file.read_bytes()).hexdigest())
    return digests


def about(root: Path, name: str = NAME, **facts: Any) -> None:
    """Writes what the hub says of a repository; a fixed `commit` makes later changes look like changed bytes."""
    (root / name / "repo.json").write_text(json.dumps(facts))


@contextmanager
def serving(root: Path, name: str, path: str, content: bytes) -> Iterator[hub.HubServer]:
    """The lab's hub on loopback with one file of any bytes in one repository below `root`."""
    file = root / name / path
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    with hub.running(root) as running:
        yield running
