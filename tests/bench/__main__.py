"""`make bench`: header bytes read, the planner's speed, and memory planned against measured where a lab instance was verified."""
from __future__ import annotations

import importlib
import json
import random
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, Iterable, Sequence

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "unit")]

importlib.import_module("conftest")  # makes the checkout importable as a collection

from ansible_collections.localai.fleet.plugins.module_utils._capacity import Capacity  # noqa: E402
from ansible_collections.localai.fleet.plugins.module_utils._gguf import FileSource, read_header  # noqa: E402
from ansible_collections.localai.fleet.plugins.module_utils._placement import plan_fleet  # noqa: E402
from ansible_collections.localai.fleet.plugins.module_utils._wanted import parse_wanted  # noqa: E402

from tests.lab.demo import table  # noqa: E402
from tests.lab.model import ensure_model  # noqa: E402

GIB = 1 << 30


def timed(call: Any) -> tuple[Any, float]:
    """The result and the seconds it took, the best of three."""
    best, result = float("inf"), None
    for _turn in range(3):
        start = time.perf_counter()
        result = call()
        best = min(best, time.perf_counter() - start)
    return result, best


def show(title: str, rows: Iterable[Sequence[str]]) -> None:
    """One table with its title."""
    print(f"\n{title}\n\n{table([list(row) for row in rows])}")


def headers(model: Path) -> None:
    """What reading the header of the lab's real model costs."""
    rows = [["MODE", "BYTES READ", "OF FILE", "SECONDS"]]
    for mode, exact in (("plan", False), ("exact", True)):
        header, seconds = timed(lambda exact=exact: read_header(FileSource(str(model)), exact=exact))
        rows.append([mode, f"{header.bytes_read:,}", f"{100 * header.bytes_read / header.file_size:.3f} %", f"{seconds:.3f}"])
    show(f"Header of {model.name} ({model.stat().st_size:,} bytes)", rows)


def host(chance: random.Random) -> Capacity:
    """A server as a fleet has them: 4 to 64 cores, 16 to 512 GiB."""
    cores, memory = chance.choice((4, 8, 16, 32, 64)), chance.choice((16, 32, 64, 128, 256, 512)) * GIB
    return Capacity(
        arch="x86_64", isa=("sse42", "avx", "avx2"), cpu_model=None, logical_cpus_online=cores, allowed_cpus=tuple(range(cores)),
        physical_cores_allowed=cores, performance_cores_allowed=cores, usable_cores=cores, smt=False, sockets=1, numa_nodes=(),
        quota_cores=None, memory_total_bytes=memory, memory_limit_bytes=None, memory_available_bytes=memory,
        memory_used_by_deployment_bytes=0, hugepages_reserved_bytes=0, swap_total_bytes=0, memory_channels=None,
        store_free_bytes=None, virtualization="none")


def planned(hosts: dict[str, Capacity], wanted: Any, header: Any, texts: list[str]) -> None:
    """Plan once; the plan's text goes into `texts`."""
    plan = plan_fleet(hosts, wanted, {want.name: header for want in wanted})
    texts.append(json.dumps(plan.as_dict(), sort_keys=True))


def planning(model: Path) -> None:
    """How long the plan of a fleet takes, and that it is the same bytes each time."""
    rows = [["HOSTS", "MODELS", "SECONDS", "SAME BYTES"]]
    header = read_header(FileSource(str(model)), exact=True)
    for count, names in ((3, 2), (30, 10), (300, 40)):
        chance = random.Random(count)
        hosts = {f"ai{n}": host(chance) for n in range(count)}
        wanted = parse_wanted([
            {"name": f"m{n}", "source": "hf://owner/repository", "context": 1024 * chance.randint(1, 16), "slots": chance.randint(1, 4),
             "replicas": min(count, 3)} for n in range(names)])
        texts: list[str] = []
        seconds = timed(partial(planned, hosts, wanted, header, texts))[1]
        rows.append([str(count), str(names), f"{seconds:.2f}", str(len(set(texts)) == 1)])
    show("Planning a fleet, 3 replicas a model", rows)


def memory() -> None:
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


def main() -> int:
    """Exit code 0: nothing is asserted."""
    model = ensure_model()
    headers(model)
    planning(model)
    memory()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
