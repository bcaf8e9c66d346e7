"""A plan with one of everything, made by hand, so that what shows plans can be tested apart from what makes them."""
from __future__ import annotations

from typing import Any

MIB, GIB = 1 << 20, 1 << 30
TERMS = ("kv_full", "kv_window", "state", "compute", "output", "repack", "prompt_cache", "checkpoints", "projector", "base", "weights")


def model(name: str = "m", **more: Any) -> dict[str, Any]:
    memory = {**{term: (index + 1) * MIB for index, term in enumerate(TERMS)}, "file": 800 * MIB, "anonymous": 66 * MIB, "file_backed": 800 * MIB}
    return {"name": name, "sha256": "ab" * 32, "kind": "chat", "threads": 3, "threads_batch": 4, "context": 4096, "slots": 2, "unified": True,
            "batch": 512, "kv_type": "f16", "prompt_cache": 7 * MIB, "checkpoints": 0, "aliases": ["gpt-4"], "memory": memory,
            "expected_tokens_per_second": None, "files": ["ab" * 32], "projector": None, **more}


def instance(*models: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "localai", "node": None, "residency": "resident", "cpuset": None, "cpus": 3.5, "threads": 3, "max_active": None,
            "memory_limit": 1000 * MIB, "memory_planned": 290 * MIB, "file_share": 0.8, "tmp_size": 128 * MIB, "models": list(models or [model()]), **more}


def host(*instances: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"usable_cores": 4, "budget_cores": 3, "memory_usable_bytes": 3 * GIB, "memory_reserved_bytes": GIB, "instances": list(instances),
            "workers": [], **more}


def plan(hosts: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    hosts = {"ai1": host(instance())} if hosts is None else hosts
    placement: dict[str, list[str]] = {}
    for name, entry in hosts.items():
        for found in {each["name"]: None for part in entry["instances"] for each in part["models"]}:
            placement.setdefault(found, []).append(name)
    return {"schema": 1, "topology": "replicated", "hosts": hosts, "placement": placement, "shards": {}, "refused": [], "warnings": [],
            "advice": [], "unmet": [], **more}
