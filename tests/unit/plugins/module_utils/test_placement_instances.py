"""Instances of a host: memory nodes, models on demand, threads, limits, what was measured."""
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _budget, _memory, _plan
from ansible_collections.localai.fleet.plugins.module_utils._gguf import TensorGroup
from ansible_collections.localai.fleet.plugins.module_utils._speed import bytes_read

from fleets import GIB, MIB, anonymous, dual, header, host, just_fits, needed, plan, want, wants


def of(found: _plan.Plan, name: str = "ai1") -> dict[str, _plan.Instance]:
    return {instance.name: instance for instance in found.hosts[name].instances}


def names(found: _plan.Plan) -> dict[str, list[str]]:
    return {name: [model.name for model in instance.models] for name, instance in of(found).items()}


# memory nodes

def test_a_model_that_fits_a_node_gets_an_instance_on_each() -> None:
    found = plan(dual(64 * GIB, 16), [want("a"), want("b")])
    first, second = of(found)["localai-node0"], of(found)["localai-node1"]
    assert names(found) == {"localai-node0": ["a", "b"], "localai-node1": ["a", "b"]} and found.placement["a"] == ("ai1",)
    assert (first.node, second.node, first.cpuset, second.cpuset) == (0, 1, "0-7", "8-15")
    assert [model.threads for model in first.models] == [4, 3] and found.hosts["ai1"].budget_cores == 14
    assert first.memory_planned == second.memory_planned == needed(want("a"), want("b"))
    assert not any("memory nodes" in item["message"] for item in found.warnings)


def test_where_memory_does_not_hold_copies_each_model_gets_one_node() -> None:
    big = header(12 * GIB)
    found = plan(dual(64 * GIB, 16), [want("a"), want("b"), want("c")], {"a": big, "b": big, "c": header()})
    assert sorted(map(sorted, names(found).values())) == [["a", "c"], ["b"]]
    assert all(instance.memory_limit <= 32 * GIB for instance in of(found).values())


def test_a_model_stays_on_its_node() -> None:
    big = {"a": header(12 * GIB), "b": header(11 * GIB), "c": header(10 * GIB)}
    capacity = dual(64 * GIB, 16)
    swapped = {"hosts": {"ai1": {"instances": [
        {"name": f"localai-node{node}", "node": node, "models": [{"name": name, "memory": {"anonymous": 0}}]}
        for node, name in ((1, "a"), (0, "b"))]}}, "placement": {}}
    assert names(plan(capacity, [want("a"), want("b")], big)) == {"localai-node0": ["a"], "localai-node1": ["b"]}
    assert names(plan(capacity, [want("a"), want("b")], big, previous=swapped)) == {"localai-node0": ["b"], "localai-node1": ["a"]}


def test_a_model_larger_than_a_node_gets_one_instance_over_all_and_a_word() -> None:
    found = plan(dual(64 * GIB, 16), [want("a"), want("b")], {"a": header(30 * GIB), "b": header()})
    assert names(found) == {"localai": ["a", "b"]} and of(found)["localai"].node is None
    assert any("2 memory nodes" in item["message"] and item["message"].startswith("a, b") and item["host"] == "ai1" for item in found.warnings)


@pytest.mark.parametrize("capacity", [dual(64 * GIB, 2), dual(64 * GIB, 16, quota_cores=1.0, usable_cores=1), host(64 * GIB, 16), dual(64 * GIB, 8, nodes=1)])
def test_small_nodes_and_single_ones_are_no_reason_to_split(capacity: Any) -> None:
    assert list(of(plan(capacity))) == ["localai"]


@pytest.mark.parametrize("more, count", [(0, 2), (2 * MIB, 1)])
def test_a_node_has_its_share_of_the_budget(more: int, count: int) -> None:
    """A file that fills half of the host's budget to the byte has two instances, a larger one spans the nodes."""
    share = plan(dual(64 * GIB, 16)).hosts["ai1"].memory_usable_bytes // 2
    room = share - needed(want()) - _budget.SERVER_FILES
    sized = header(tensors=()), anonymous(want(), header(tensors=()))
    file = room + anonymous(want()) - sized[1] + more
    assert len(of(plan(dual(64 * GIB, 16), [want()], {"m": header(file, tensors=())}))) == count


def test_a_gateway_leaves_its_core_on_the_first_node_only() -> None:
    found = of(plan(dual(64 * GIB, 16), gateways=["ai1"]))
    assert [found[f"localai-node{node}"].models[0].threads for node in (0, 1)] == [6, 7]


# on demand

def test_models_on_demand_have_an_instance_of_their_own() -> None:
    models = wants({"name": "r"}, {"name": "x", "residency": "on_demand"}, {"name": "y", "residency": "on_demand", "context": 8192},
                   {"name": "z", "residency": "on_demand", "context": 16_384})
    found = of(plan(host(count=9), models))
    assert names(plan(host(count=9), models)) == {"localai": ["r"], "localai-ondemand": ["x", "y", "z"]}
    resident, demand = found["localai"], found["localai-ondemand"]
    assert (resident.residency, resident.max_active, demand.residency, demand.max_active) == ("resident", None, "on_demand", 1)
    assert resident.memory_planned == needed(models[0], cores=9)
    assert demand.memory_planned == needed(models[2], models[3], cores=9)  # the two largest
    assert (resident.models[0].threads, [model.threads for model in demand.models]) == (4, [4, 4, 4])
    assert (resident.threads, demand.threads, resident.cpus, demand.cpus) == (4, 4, 4.5, 4.5)


def test_on_demand_alone_gets_all_threads() -> None:
    found = of(plan(host(count=8), wants({"name": "x", "residency": "on_demand"}, {"name": "y", "residency": "on_demand"})))
    assert list(found) == ["localai-ondemand"] and [model.threads for model in found["localai-ondemand"].models] == [7, 7]


def test_a_third_model_on_demand_takes_memory_only_when_it_is_one_of_the_two_largest() -> None:
    items = [{"name": name, "residency": "on_demand", "context": 4096} for name in "xyz"]
    capacity = just_fits(*wants(*items[:2]), spare=10 * MIB)
    assert not plan(capacity, wants(*items)).unmet
    assert plan(capacity, wants(*items[:2], {**items[2], "context": 8192})).unmet == ("z",)


def test_resident_models_beside_on_demand_ones_leave_it_a_thread() -> None:
    models = wants(*({"name": f"r{n}"} for n in range(3)), {"name": "x", "residency": "on_demand"})
    found = plan(host(64 * GIB, 3), models)
    assert (of(found)["localai"].max_active, of(found)["localai-ondemand"].max_active) == (2, 1)
    assert of(found)["localai"].memory_planned == needed(*models[:3], cores=3)  # all of them, whatever may be loaded at once
    assert any("3 models share 2 cores" in item["message"] for item in found.warnings)


def test_one_core_for_both_is_a_warning() -> None:
    found = plan(host(count=1), wants({"name": "r"}, {"name": "x", "residency": "on_demand"}))
    assert any("share one core" in item["message"] for item in found.warnings)


def test_on_demand_lives_on_one_node_beside_copies() -> None:
    found = plan(dual(64 * GIB, 16), wants({"name": "r"}, {"name": "x", "residency": "on_demand"}))
    assert sorted(names(found)) == ["localai-node0", "localai-node1", "localai-ondemand"]
    assert of(found)["localai-ondemand"].node == 0 and of(found)["localai-node0"].models[0].threads == 4
    assert of(found)["localai-node1"].models[0].threads == 7


def test_limits_share_what_the_files_must_do_without() -> None:
    models = wants({"name": "r"}, {"name": "x", "residency": "on_demand"})
    spare = _budget.BASE_BYTES + 600 * MIB
    found = plan(just_fits(*models, spare=spare), models)
    resident, demand = (of(found)[name] for name in ("localai", "localai-ondemand"))
    assert 0.3 < resident.file_share < 0.4 and abs(resident.file_share - demand.file_share) < 0.02
    assert resident.memory_limit + demand.memory_limit <= found.hosts["ai1"].memory_usable_bytes
    assert resident.memory_limit >= resident.memory_planned and demand.memory_limit >= demand.memory_planned
    assert len([item for item in found.warnings if "of the model files" in item["message"]]) == 2


# threads

def test_threads_follow_weights() -> None:
    found = of(plan(host(count=9), wants({"name": "a", "weight": 3}, {"name": "b"})))
    assert [model.threads for model in found["localai"].models] == [6, 2]


@pytest.mark.parametrize("reserved, gateways, threads", [({}, [], 7), ({}, ["ai1"], 6), ({"ai1": 0}, ["ai1"], 8), ({"ai1": 5}, [], 3), ({"ai9": 5}, [], 7)])
def test_reserved_cores(reserved: dict[str, int], gateways: list[str], threads: int) -> None:
    assert of(plan(host(count=8), reserved_cores=reserved, gateways=gateways))["localai"].models[0].threads == threads


def test_reserved_cores_are_taken_from_nodes_in_turn() -> None:
    found = of(plan(dual(64 * GIB, 16), reserved_cores={"ai1": 3}))
    assert [found[f"localai-node{node}"].models[0].threads for node in (0, 1)] == [7, 6]


@pytest.mark.parametrize("reserved, instances, threads", [({}, 3, 3), ({"ai1": 1}, 3, 3), ({"ai1": 2}, 2, 2), ({"ai1": 3}, 2, 2)])
def test_models_on_demand_beside_others_have_a_core_of_their_own(reserved: dict[str, int], instances: int, threads: int) -> None:
    """On two nodes of two cores the other node gives the core that is reserved; where that does not do, one instance runs over both nodes."""
    found = plan(dual(64 * GIB, 4), wants({"name": "r"}, {"name": "x", "residency": "on_demand"}), reserved_cores=reserved)
    assert [sum(getattr(instance.models[0], each) for instance in of(found).values()) for each in ("threads", "threads_batch")] == [threads] * 2
    assert len(of(found)) == instances and found.hosts["ai1"].budget_cores == max(1, 4 - reserved.get("ai1", 1))


def test_a_core_is_reserved_where_the_models_on_demand_are_not() -> None:
    """Memory puts the model on demand on the second node."""
    found = of(plan(dual(32 * GIB, 4), wants({"name": "r"}, {"name": "x", "residency": "on_demand"}), {"r": header(6 * GIB), "x": header(5 * GIB)}))
    assert {name: (instance.node, instance.models[0].threads) for name, instance in found.items()} == {
        "localai-node0": (0, 1), "localai-ondemand": (1, 2)}


def test_nodes_without_a_core_each_are_one_instance() -> None:
    found = plan(dual(64 * GIB, 4), reserved_cores={"ai1": 3})
    assert [instance.models[0].threads for instance in of(found).values()] == [found.hosts["ai1"].budget_cores] == [1]


@pytest.mark.parametrize("cores, nodes, gateways, budgets", [(4, 2, [], 3), (8, 4, [], 7), (8, 4, ["ai1"], 6), (16, 2, [], 14), (8, 2, ["ai1"], 6)])
def test_small_nodes_leave_together_what_the_host_would(cores: int, nodes: int, gateways: list[str], budgets: int) -> None:
    found = plan(dual(64 * GIB, cores, nodes), gateways=gateways).hosts["ai1"]
    assert len(found.instances) == nodes and found.budget_cores == budgets
    assert sum(instance.models[0].threads_batch for instance in found.instances) == budgets


def test_reserving_all_cores_is_a_warning() -> None:
    found = plan(host(count=8), reserved_cores={"ai1": 8})
    assert of(found)["localai"].models[0].threads == 1 and any("All 8 usable cores" in item["message"] for item in found.warnings)


def test_busy_neighbours_are_a_proposal_and_not_a_plan() -> None:
    found, told = plan(host(other_load_cores=2.6)), plan(host(other_load_cores=2.6), reserved_cores={"ai1": 1})
    assert found.hosts == told.hosts and not told.warnings and not plan(host(other_load_cores=2.6), []).warnings
    assert any("ask for 2.6 cores now" in item["message"] and "common_reserved_cores to 4" in item["message"] for item in found.warnings)


# what was measured

TUNING = {"schema": 1, "threads": 3, "measured_at": "2026-11-01T00:00:00Z", "measured_on": "ai1", "fingerprint": {},
          "model": {"name": "m", "sha256": "a" * 64}, "tokens_per_second": {"3": 12.5, "4": 12.0}}


def test_measured_threads_and_their_speed() -> None:
    found = plan(host(), [want()], digests={"m": "a" * 64}, tuning={"ai1": TUNING})
    (model,) = of(found)["localai"].models
    assert (model.threads, model.threads_batch, model.expected_tokens_per_second) == (3, 7, 12.5)
    assert any("ai1: threads measured on 2026-11-01 on ai1" in line for line in found.advice)


def test_a_part_of_a_core_asks_for_a_measurement() -> None:
    part = host(quota_cores=1.5, usable_cores=1)
    asked = [{"host": "ai1", "message": "The CPU quota of 1.5 cores leaves a part of a core, and only a measurement tells whether one more thread is faster. "
                                        "Run localai.fleet.tune, then localai.fleet.site again."}]

    def said(found: Any) -> list[str]:
        return [item for item in found.warnings if "quota" in item["message"]]

    assert said(plan(part)) == asked
    assert not said(plan(part, [])) and not said(plan(part, tuning={"ai1": TUNING})) and not said(plan(part, [want("m"), want("n")]))


@pytest.mark.parametrize("capacity, digest, speed", [
    (host(), "a" * 64, 6.25), (host(), "f" * 64, None), (host(count=2), "a" * 64, None)])
def test_another_model_is_slower_by_the_bytes_it_reads(capacity: Any, digest: str, speed: float | None) -> None:
    """Nothing is promised without the measured model, and nothing for threads that were not measured."""
    models, files = [want("m", hosts=["ai2"]), want("n", hosts=["ai1"])], {"m": header(), "n": header(1600 * MIB)}
    found = plan({"ai1": capacity, "ai2": host()}, models, files, {"m": digest, "n": "b" * 64}, tuning={"ai1": TUNING})
    assert of(found)["localai"].models[0].expected_tokens_per_second == speed


@pytest.mark.parametrize("capacity, speed", [
    (host(memory_channels=2, memory_bandwidth_bytes_per_second=50 * 400 * MIB), 30.0), (host(memory_channels=2), None),
    (host(count=4, memory_channels=2, memory_bandwidth_bytes_per_second=50 * 400 * MIB), None),
    (dual(memory_channels=4, memory_bandwidth_bytes_per_second=100 * 400 * MIB), 30.0)])
def test_bandwidth_promises_what_threads_can_use(capacity: Any, speed: float | None) -> None:
    """Of 50 readings a second of its 400 MiB of weights, six tenths; three threads do not use two channels; a node has half of four."""
    assert {instance.models[0].expected_tokens_per_second for instance in of(plan(capacity)).values()} == {speed}


def test_bytes_read_counts_the_experts_in_use() -> None:
    groups = (TensorGroup("Q4_K", "experts", 32, 1, 800), TensorGroup("Q4_K", "matrix", 32, 1, 100), TensorGroup("Q6_K", "tied", 32, 1, 10),
              TensorGroup("Q6_K", "embedding", 32, 1, 5))
    experts = [header(tensors=groups, parameters={**header().parameters, "expert_count": 8, "expert_used_count": used}) for used in (2, [1, 2])]
    assert [bytes_read(each) for each in experts] == [310, 310] and bytes_read(header(tensors=groups)) == 910 and bytes_read(header(tensors=None)) is None


def test_an_ignored_measurement_leaves_a_word() -> None:
    found = plan(host(), ignored={"ai1": "The threads measured long ago are ignored."})
    assert {"host": "ai1", "message": "The threads measured long ago are ignored."} in found.warnings
    assert _memory.SERVER_TMP == of(found)["localai"].tmp_size
