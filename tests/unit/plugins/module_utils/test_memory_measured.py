"""Memory against what llama.cpp 0.7.0 (build 11669) allocated, recorded so that no engine is needed.

`measured_graphs.jsonl`: architecture (and whether experts), keys, settings, bytes of cache and state, bytes of the compute buffer, whether
that is planned to the byte, and how many tensors of which role the file has where it matters. Random shapes and settings of each
architecture that the engine knows; keys that do not matter are left out.
`measured_processes.jsonl`: header, settings, the engine's buffer lines and RssAnon of `python -m tests.bench memory`.
"""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.localai.fleet.plugins.module_utils._gguf import Header
from ansible_collections.localai.fleet.plugins.module_utils._gguf_tensors import TensorGroup
from ansible_collections.localai.fleet.plugins.module_utils._memory import MIB, Settings, estimate

HERE = Path(__file__).resolve().parents[2]
GRAPHS = [(*json.loads(line), {})[:7] for line in (HERE / "measured_graphs.jsonl").read_text(encoding="utf-8").splitlines()]
PROCESSES = [json.loads(line) for line in (HERE / "measured_processes.jsonl").read_text(encoding="utf-8").splitlines()]


def header_of(name: str, keys: dict[str, Any], tensors: dict[str, int]) -> Header:
    groups = tuple(TensorGroup("F16", role, 32, count, 0) for role, count in tensors.items())
    return Header(version=3, architecture=name, parameters=keys, vocab_size=keys.get("vocab_size", 1000), tensors=groups or None)


@pytest.mark.parametrize("name, keys, settings, cache, compute, exact, tensors", GRAPHS, ids=[f"{index}-{row[0]}" for index, row in enumerate(GRAPHS)])
def test_cache_is_equal_and_compute_too_where_the_graph_is_known(
        name: str, keys: dict[str, Any], settings: dict[str, Any], cache: int, compute: int, exact: bool, tensors: dict[str, int]) -> None:
    found = estimate(header_of(name.partition("/")[0], keys, tensors), Settings(**settings))
    assert found.kv_full + found.kv_window + found.state == cache
    assert found.compute == compute if exact else compute < found.compute <= 5 * compute


@pytest.mark.parametrize("name, keys, settings, cache, compute, exact, tensors", [row for row in GRAPHS if row[6]])
def test_without_tensor_infos_the_heaviest_kind_of_file_is_planned(
        name: str, keys: dict[str, Any], settings: dict[str, Any], cache: int, compute: int, exact: bool, tensors: dict[str, int]) -> None:
    assert estimate(header_of(name.partition("/")[0], keys, {}), Settings(**settings)).compute >= compute


def test_what_is_not_known_takes_no_more_than_planned() -> None:
    """Every measured graph, planned as if its architecture were new."""
    low = {}
    for name, keys, settings, cache, compute, _exact, tensors in GRAPHS:
        found = estimate(header_of("brand-new", keys, tensors), Settings(**settings))
        if found.compute < compute or found.kv_full + found.kv_window + found.state < cache:
            low[name] = (found.compute / compute, cache)
    assert not low


@pytest.mark.parametrize("row", PROCESSES, ids=[row["name"] for row in PROCESSES])
def test_a_process_holds_what_is_planned(row: dict[str, Any]) -> None:
    header, measured = Header.from_dict(row["header"]), row["measured"]
    settings = Settings(**{name: tuple(value) if isinstance(value, list) else value for name, value in row["settings"].items()})
    found = estimate(header, settings)
    for planned, said in ((found.kv_full + found.kv_window, "cache"), (found.state, "state"), (found.repack, "repack")):
        assert planned == pytest.approx(measured[said], abs=0.011 * MIB * max(1, header.get("block_count") if said == "state" else 2)), said
    assert found.compute >= measured["compute"] - 0.01 * MIB
    assert measured["anonymous"] <= found.anonymous <= 1.03 * measured["anonymous"]
