"""Memory against what llama.cpp 0.7.0 (build 11669) allocated, recorded so that no engine is needed.

`measured_graphs.jsonl`: architecture, keys, settings, bytes of cache and state, bytes of the compute buffer,
whether it has no mixture. One random shape of each
architecture that the engine knows, drawn after the formulas were set; keys that do not matter are left out.
`measured_processes.jsonl`: header, settings, the engine's buffer lines and RssAnon of `python -m tests.bench memory`.
"""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _shape
from ansible_collections.localai.fleet.plugins.module_utils._gguf import Header
from ansible_collections.localai.fleet.plugins.module_utils._memory import MIB, Settings, estimate

HERE = Path(__file__).resolve().parents[2]
GRAPHS = [json.loads(line) for line in (HERE / "measured_graphs.jsonl").read_text(encoding="utf-8").splitlines()]
PROCESSES = [json.loads(line) for line in (HERE / "measured_processes.jsonl").read_text(encoding="utf-8").splitlines()]
OVER = {"falcon": 1.08, "llama-embed": 1.17, "qwen": 1.07}
"""Dense architectures whose blocks hold one more row of the width in some graphs than in others: planned at the larger (llama-embed: two)."""


@pytest.mark.parametrize("architecture, keys, settings, cache, compute, plain", GRAPHS, ids=[row[0] for row in GRAPHS])
def test_cache_is_equal_and_compute_never_low(architecture: str, keys: dict[str, Any], settings: dict[str, Any], cache: int, compute: int, plain: bool) -> None:
    header = Header(version=3, architecture=architecture, parameters=keys)
    found = estimate(header, Settings(**settings))
    assert found.kv_full + found.kv_window + found.state == cache
    dense = plain and architecture in _shape.DENSE and not header.get("attention.kv_lora_rank")
    assert compute <= found.compute <= compute * (OVER.get(architecture, 1.01) if dense else 5)


@pytest.mark.parametrize("row", PROCESSES, ids=[row["name"] for row in PROCESSES])
def test_a_process_holds_what_is_planned(row: dict[str, Any]) -> None:
    header, measured = Header.from_dict(row["header"]), row["measured"]
    settings = Settings(**{name: tuple(value) if isinstance(value, list) else value for name, value in row["settings"].items()})
    found = estimate(header, settings)
    for planned, said in ((found.kv_full + found.kv_window, "cache"), (found.state, "state"), (found.repack, "repack")):
        assert planned == pytest.approx(measured[said], abs=0.011 * MIB * max(1, header.get("block_count") if said == "state" else 2)), said
    assert found.compute >= measured["compute"] - 0.01 * MIB
    bound = found.compute - measured["compute"] if header.architecture not in _shape.DENSE else 0  # hybrids are planned at an upper bound
    assert measured["anonymous"] <= found.anonymous <= measured["anonymous"] * 1.03 + bound
