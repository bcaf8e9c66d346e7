"""Memory planned against measured."""
from __future__ import annotations

import json

from tests.bench import ROOT
from tests.bench.tables import show


def run() -> None:
    """Anonymous and file-backed memory of running containers against the plan, from the last verdict of the demo."""
    verdict = ROOT / ".lab" / "demo" / "verdict.json"
    if not verdict.exists():
        print("\nMemory planned against measured: run `make demo` first; its verdict is read from .lab/demo/verdict.json.")
        return
    rows = [["HOST", "PLANNED", "MEASURED", "MEASURED / PLANNED"]]
    for row in json.loads(verdict.read_text(encoding="utf-8"))["verdict"]["measured"]:
        held = row["memory_anonymous"] + row["memory_file"]
        rows.append([row["host"], f"{row['memory_planned']:,}", f"{held:,}", f"{held / row['memory_planned']:.2f}"])
    show("Memory of running containers after a short probe (the plan holds a full prompt cache), bytes", rows)
