"""A small repository of GGUF files for the lab's hub, served on loopback."""
from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import gguf_writer

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
    add_gguf(root, "mmproj-F16.gguf", general__type="mmproj")
    (root / NAME / "README.md").write_text("# Tiny\n")
    about(root, license="mit", tags=["gguf", "license:mit", "base_model:acme/Tiny", "base_model:quantized:acme/Tiny"])
    return root


def add_split(root: Path, stem: str = "tiny-F16", count: int = 2, name: str = NAME) -> None:
    """A model in several files, whose headers nobody may read: they are none."""
    for part in range(1, count + 1):
        (root / name / f"{stem}-{part:05}-of-{count:05}.gguf").write_bytes(b"%d" % part)


def about(root: Path, name: str = NAME, **facts: Any) -> None:
    """Writes what the hub says of a repository; a fixed `commit` makes later changes look like changed bytes."""
    (root / name / "repo.json").write_text(json.dumps(facts))
