"""Header bytes read, in both modes."""
from __future__ import annotations

from pathlib import Path

from ansible_collections.localai.fleet.plugins.module_utils._gguf import FileSource, read_header

from tests.bench.tables import show, timed
from tests.lab.model import ensure_model


def real(model: Path) -> None:
    """What reading the header of the lab's real model costs."""
    rows = [["MODE", "BYTES READ", "OF FILE", "SECONDS"]]
    for mode, exact in (("plan", False), ("exact", True)):
        header, seconds = timed(lambda exact=exact: read_header(FileSource(str(model)), exact=exact))
        rows.append([mode, f"{header.bytes_read:,}", f"{100 * header.bytes_read / header.file_size:.3f} %", f"{seconds:.3f}"])
    show(f"Header of {model.name} ({model.stat().st_size:,} bytes)", rows)


def run() -> None:
    """The lab's real model."""
    real(ensure_model())
