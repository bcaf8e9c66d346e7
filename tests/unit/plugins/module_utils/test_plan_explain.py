"""Every number of a model in a plan can be followed to its term."""
from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import fleets
import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _plan_explain
from ansible_collections.localai.fleet.plugins.module_utils._capacity import Capacity, Core, NumaNode
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.module_utils._explain import Term, explain
from ansible_collections.localai.fleet.plugins.module_utils._memory import Settings, estimate
from ansible_collections.localai.fleet.plugins.module_utils._speed import bytes_read
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
    return "\n".join(_plan_explain.explanation(name, given, capacities or {host: HOST for host in given["hosts"]}, lambda isa: terms, fleets.header()))


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
    assert ("memory_limit = 1,048,576,000 (1000 MiB), the container's\n"
            "        = memory_planned + 744,488,960, which is 80 % of files: the host has no more") in text
    # Both models are one file.
    assert "files = 939,524,096 (896 MiB)\n        = programs 100,663,296 + n 838,860,800\n" in text
    assert "reserved = 1,073,741,824 (1.0 GiB)\n        = max(536,870,912, 5 % of 4,294,967,296) for the system + 536,870,912 for what else" in text


@pytest.mark.parametrize("limit, line", [
    ((290 + 896) * MIB, "= memory_planned + files, up to a whole MiB"), ((291 + 896) * MIB - 1, "= memory_planned + files, up to a whole MiB"),
    (1300 * MIB, "= memory_planned + 1,059,061,760, as it is deployed"), (1180 * MIB, "= memory_planned + 933,232,640, as it is deployed")])
def test_a_limit_for_all_files_is_made_new_or_stays(limit: int, line: str) -> None:
    assert line in told(plan({"ai1": host(instance(file_share=1.0, memory_limit=limit))}))


@pytest.mark.parametrize("capacity, line", [
    (HOST, "= memory 4,294,967,296 - reserved 1,073,741,824\n"),
    (replace(HOST, hugepages_reserved_bytes=GIB), "= memory 4,294,967,296 - huge pages 1,073,741,824 - reserved 1,073,741,824\n"),
    (replace(HOST, memory_limit_bytes=3 * GIB, hugepages_reserved_bytes=GIB),
     "= min(memory 4,294,967,296 - huge pages 1,073,741,824, limit 3,221,225,472) - reserved 1,073,741,824\n"),
    (replace(HOST, memory_total_bytes=None, memory_limit_bytes=3 * GIB), "= limit 3,221,225,472 - reserved 1,073,741,824\n")])
def test_the_memory_of_a_host_is_followed_to_its_parts(capacity: Capacity, line: str) -> None:
    assert line in told(capacities={"ai1": capacity})


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
    (replace(HOST, memory_channels=1), {"budget_cores": 4}, ["below the budget of 4, since more than 3 a memory channel (1) are no faster"]),
    (replace(HOST, usable_cores=1, quota_cores=1.5), {"budget_cores": 2},
     ["usable cores = 1", "budget = 2\n        = usable cores 1 + the part of a core that the quota leaves"]),
    (HOST, {"budget_cores": 4}, ["below the budget of 4, since more were measured to be no faster"])])
def test_threads_are_followed_from_capacity_to_split(capacity: Capacity, entry: Any, lines: list[str]) -> None:
    text = told(plan({"ai1": host(instance(), **entry)}), {"ai1": capacity})
    assert [line for line in lines if line not in text] == []


def test_an_instance_on_a_memory_node_tells_of_its_node() -> None:
    nodes = [instance(model(threads=1, threads_batch=2), name=f"localai-node{node}", node=node, cpuset=f"{2 * node}-{2 * node + 1}") for node in (0, 1)]
    text = told(plan({"ai1": host(*nodes, budget_cores=4)}), {"ai1": TWO_NODES})
    assert "m on ai1 (localai-node0), ai1 (localai-node1):" in text and "m on ai1 (localai-node1):" in text
    for line in ("usable cores of NUMA node 1 = 2", "budget of NUMA node 1 = 2", "pinned to CPUs 2-3", "and 2 CPUs"):
        assert line in text


def test_threads_that_another_instance_has_are_told() -> None:
    beside = instance(model("d"), name="localai-ondemand", residency="on_demand")
    assert "below the budget of 5, since the others are for localai-ondemand" in told(plan({"ai1": host(instance(), beside, budget_cores=5)}))
    both = instance(model(), model("n", threads=2))
    assert "below the budget of 7, since more were measured" in told(plan({"ai1": host(both, beside, budget_cores=7)}))


def test_the_cpus_of_an_instance_that_is_pinned_are_those_of_its_set() -> None:
    assert "pinned to CPUs 0-1,3\n        = threads and half a core for the server, within no quota and 3 CPUs" in told(
        plan({"ai1": host(instance(cpuset="0-1,3"))}))


def test_hosts_alike_are_told_once() -> None:
    text = told(plan({f"ai{index}": host(instance()) for index in range(300)}))
    assert text.count("kv_full = ") == text.count("LOCALAI_THREADS") == 1 and text.count("m on ai0, ai1, ai2, ai3, ai4 and 295 more:") == 2


def test_unlike_hosts_share_their_terms() -> None:
    text = told(plan({"ai1": host(instance()), "ai2": host(instance(threads=2))}))
    assert text.count("kv_full = ") == 1 and text.count("LOCALAI_THREADS") == 2


def tuned(sha256: str) -> Capacity:
    """A host where the model of this digest was measured."""
    return replace(HOST, tuning={"model": {"name": "x", "sha256": sha256}, "tokens_per_second": {"3": 9.5}, "measured_at": "2026-11-25T20:20:23Z"})


FAST = replace(HOST, memory_channels=2, memory_bandwidth_bytes_per_second=50_000_000_000)


@pytest.mark.parametrize("capacity, speed, line", [
    (HOST, None, "unknown, nothing was measured on this host\n"), (FAST, None, "on this host, and 3 threads cannot use all of its memory's bandwidth\n"),
    (tuned("ab" * 32), 12.5, "a second: 12.5\n        = 9.5, measured with x and 3 threads on 2026-11-25\n"),
    (tuned("cd" * 32), 12.5, "and 3 threads on 2026-11-25 * bytes of weights that a token of it uses / 419,430,400 of this one\n"),
    (FAST, round(0.6 * 50_000_000_000 / bytes_read(fleets.header()), 2), "        = 0.6 * 50,000,000,000 bytes a second that its memory can give / ")])
def test_speed_is_followed_to_what_it_comes_from(capacity: Capacity, speed: Any, line: str) -> None:
    assert line in told(plan({"ai1": host(instance(model(expected_tokens_per_second=speed)))}), {"ai1": capacity}) + "\n"


def test_a_model_that_is_split_keeps_less_than_its_terms() -> None:
    terms = (Term("kv_full", 34 * MIB, "a", "1"), Term("anonymous", 99 * MIB, "a", "1"))
    assert ("the server keeps 69,206,016 (66 MiB); the rest is on the model's workers\n        = anonymous 103,809,024 - kv_full 34,603,008\n"
            in told(terms=terms))


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
