"""Every number of a model in a plan can be followed to its term."""
from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _plan_explain
from ansible_collections.localai.fleet.plugins.module_utils._capacity import Capacity, Core, NumaNode
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.module_utils._explain import Term, explain
from ansible_collections.localai.fleet.plugins.module_utils._memory import Settings, estimate
from memory_shapes import GEMMA_1B, LLAMA_1B
from plans import GIB, MIB, host, instance, model, plan

HOST = Capacity(
    arch="x86_64", isa=("avx2",), cpu_model=None, logical_cpus_online=4, allowed_cpus=(0, 1, 2, 3), physical_cores_allowed=4,
    performance_cores_allowed=4, usable_cores=4, smt=False, sockets=1, numa_nodes=(), quota_cores=None, memory_total_bytes=4 * GIB,
    memory_limit_bytes=None, memory_available_bytes=None, memory_used_by_deployment_bytes=0, hugepages_reserved_bytes=0, swap_total_bytes=0,
    memory_channels=None, store_free_bytes=None, virtualization=None)
TWO_NODES = replace(
    HOST, numa_nodes=(NumaNode(0, (0, 1), 2 * GIB), NumaNode(1, (2, 3), 2 * GIB)), cores=tuple(Core((cpu,), True) for cpu in range(4)),
    numa_hugepages_bytes=(0, 0))
TERMS = (Term("kv_full", 66 * MIB, "cells * row", "33 * 2097152"), Term("kv_full.cells", 33, "cells", "33"), Term("state", 0, "0", "0"),
         Term("state.copies", 1, "slots", "1"), Term("prompt_cache", 8, "prompt_cache", "8"), Term("anonymous", 66 * MIB, "kv_full + state", f"{66 * MIB} + 0"))


def told(given: dict[str, Any] | None = None, capacities: Any = None, terms: Any = TERMS, name: str = "m") -> str:
    given = plan() if given is None else given
    return "\n".join(_plan_explain.explanation(name, given, capacities or {host: HOST for host in given["hosts"]}, lambda isa: terms))


def test_terms_have_name_bytes_formula_and_values() -> None:
    text = told()
    assert "m on ai1:\n" in text and "    kv_full = 69,206,016 (66 MiB)\n        = cells * row\n        = 33 * 2097152\n      .cells = 33\n" in text
    assert "prompt_cache = 8 (1 MiB)\n    anonymous" in text and "none of it: state" in text and "copies" not in text


def test_a_part_of_several_terms_is_told_once() -> None:
    text = told(terms=explain(GEMMA_1B, Settings()))
    assert text.count("  .cells = ") == 1 and text.count("  .micro_batch = ") == 1 and "cells * streams" in text and "2 * cells * rows" in text


@pytest.mark.parametrize("shape", [LLAMA_1B, GEMMA_1B])
def test_values_come_out_as_the_bytes_that_are_planned(shape: Any) -> None:
    settings = Settings(context=8192, slots=4, type_k="q8_0", type_v="q8_0", prompt_cache=256 * MIB, checkpoints=4)
    text, memory = told(terms=explain(shape, settings)), estimate(shape, settings).as_dict()
    for name in ("kv_full", "kv_window", "compute", "output", "base", "anonymous"):
        if not memory[name]:
            continue
        size, formula = re.search(rf"^    {name} = ([\d,]+) .*\n((?:        = .*\n)*)", text, re.M).groups()
        assert int(size.replace(",", "")) == memory[name]
        assert eval(formula.strip().splitlines()[-1].split("= ", 1)[1], {"max": max, "min": min}) == memory[name]


def test_limits_are_followed_to_their_parts() -> None:
    text = told(plan({"ai1": host(instance(model(), model("n")))}))
    assert "memory_planned = 304,087,040 (290 MiB)" in text and "+ m 69,206,016 + n 69,206,016" in text
    assert "memory_limit = 1,048,576,000 (1000 MiB), the container's\n        = memory_planned + 744,488,960 for 80 % of the files" in text
    assert "3,221,225,472 (3.0 GiB)\n        = memory 4,294,967,296, less 1,073,741,824 reserved" in text


def test_on_demand_counts_the_two_largest() -> None:
    large = model("large", memory={**model()["memory"], "anonymous": 99 * MIB})
    text = told(plan({"ai1": host(instance(model(), large, model("x", memory={**model()["memory"], "anonymous": 1}), name="localai-ondemand",
                                           residency="on_demand", max_active=1))}))
    assert "m on ai1 (localai-ondemand):" in text and "+ large 103,809,024 + m 69,206,016 (the 2 largest of the models on demand)" in text
    assert "1 model at once" in text


@pytest.mark.parametrize("capacity, entry, lines", [
    (HOST, {}, ["usable cores = 4", "4 performance cores within no quota", "budget = 3", "usable cores 4 - 1 left",
                "LOCALAI_THREADS = 3, for a model that runs alone\n", "m 3 (4 for prompts)", "container = 3.5, not pinned", "within no quota and 4 CPUs"]),
    (replace(HOST, quota_cores=2.5), {}, ["4 performance cores within a quota of 2.5"]),
    (replace(HOST, memory_channels=1), {"budget_cores": 4}, ["below the budget of 4: tokens are bound by 1 memory channel"]),
    (replace(HOST, usable_cores=1, quota_cores=1.5), {"budget_cores": 2},
     ["usable cores = 1", "budget = 2\n        = usable cores 1 + the part of a core that the quota leaves"]),
    (HOST, {"budget_cores": 4}, ["below the budget of 4: tokens are bound by memory, as it was measured"])])
def test_threads_are_followed_from_capacity_to_split(capacity: Capacity, entry: Any, lines: list[str]) -> None:
    text = told(plan({"ai1": host(instance(), **entry)}), {"ai1": capacity})
    assert [line for line in lines if line not in text] == []


def test_an_instance_on_a_memory_node_tells_of_its_node() -> None:
    nodes = [instance(model(threads=1, threads_batch=2), name=f"localai-node{node}", node=node, cpuset=f"{2 * node}-{2 * node + 1}") for node in (0, 1)]
    text = told(plan({"ai1": host(*nodes, budget_cores=4)}), {"ai1": TWO_NODES})
    assert "m on ai1 (localai-node0), ai1 (localai-node1):" in text and "m on ai1 (localai-node1):" in text
    for line in ("usable cores of NUMA node 1 = 2", "budget of NUMA node 1 = 2", "pinned to CPUs 2-3", "and 2 CPUs"):
        assert line in text


def test_hosts_alike_are_told_once() -> None:
    text = told(plan({f"ai{index}": host(instance()) for index in range(300)}))
    assert text.count("kv_full = ") == text.count("LOCALAI_THREADS") == 1 and text.count("m on ai0, ai1, ai2, ai3, ai4 and 295 more:") == 2


def test_unlike_hosts_share_their_terms() -> None:
    text = told(plan({"ai1": host(instance()), "ai2": host(instance(threads=2))}))
    assert text.count("kv_full = ") == 1 and text.count("LOCALAI_THREADS") == 2


@pytest.mark.parametrize("speed, line", [(None, "unknown, nothing was measured"), (12.5, "a second: 12.5")])
def test_speed(speed: Any, line: str) -> None:
    assert line in told(plan({"ai1": host(instance(model(expected_tokens_per_second=speed)))}))


def test_a_model_that_is_split_keeps_less_than_its_terms() -> None:
    assert "the server keeps 69,206,016 (66 MiB)" in told(terms=(Term("anonymous", 99 * MIB, "a", "1"),))


def test_a_model_that_is_nowhere_is_explained_with_its_refusals() -> None:
    refusals = [{"model": name, "host": "ai1", "reason": f"{name} is too large.", "short_by": 1, "fits_with": {}} for name in ("big", "other")]
    text = told(plan({"ai1": host()}, refused=refusals), name="big")
    assert "big, which is nowhere, would take on ai1:" in text and "kv_full = " in text and "refused: big is too large." in text and "other" not in text


@pytest.mark.parametrize("asked, name", [("m", "m"), ("gpt-4", "m"), ("n", "n")])
def test_a_model_is_found_by_name_and_alias(asked: str, name: str) -> None:
    assert _plan_explain.find(asked, {"m": ["gpt-4"], "n": []}) == name


@pytest.mark.parametrize("names, sentence", [
    ({"llama": ["gpt-4"]}, "not wanted .explain.: got gpt-5. The nearest wanted one is gpt-4."), ({}, "No model is wanted.")])
def test_an_unknown_model_names_the_nearest(names: Any, sentence: str) -> None:
    with pytest.raises(FleetError) as caught:
        _plan_explain.find("gpt-5", names)
    assert re.search(sentence, str(caught.value))
