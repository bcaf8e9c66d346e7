"""The fact of a host's capacity."""
from __future__ import annotations

from pathlib import Path


def host(root: Path) -> dict[str, str]:
    for path, text in {"proc/meminfo": "MemTotal: 4 kB\nMemAvailable: 2 kB\n", "sys/devices/system/cpu/online": "0-1\n"}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return {"root": str(root)}


def test_quartet(run_module, tmp_path):
    args = host(tmp_path)
    results = [run_module("capacity_facts", args, check=check) for check in (True, False, True, False)]
    for result in results:
        assert result["changed"] is False
        assert result["ansible_facts"].keys() == {"localai_capacity"}
    facts = [result["ansible_facts"]["localai_capacity"] for result in results]
    assert all({**fact, "store_free_bytes": 0} == {**facts[0], "store_free_bytes": 0} for fact in facts)
    assert (facts[0]["logical_cpus_online"], facts[0]["memory_total_bytes"], facts[0]["schema"]) == (2, 4096, 1)


def test_this_host(run_module):
    fact = run_module("capacity_facts", {})["ansible_facts"]["localai_capacity"]
    assert fact["usable_cores"] >= 1 and fact["memory_available_bytes"] > 0 and fact["arch"]
