"""Sharded, federated and distributed fleets: who does what, with which threads and memory."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _budget, _memory, _plan, _sharding
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.module_utils._gguf import Header, TensorGroup
from ansible_collections.localai.fleet.plugins.module_utils._needs import settings_of

from fleets import GIB, MIB, header, host, plan, want, wants

BIG = header(40 * GIB, tensors=(TensorGroup("Q4_K", "matrix", 32, 100, 36 * GIB), TensorGroup("Q6_K", "output", 32, 1, 2 * GIB),
                                TensorGroup("Q6_K", "embedding", 32, 1, 2 * GIB)))
SHARDED = {"workers": ["w1", "w2", "w3"]}


def fleet(*memory: int, server: int = 16) -> dict[str, Any]:
    return {"ai1": host(server * GIB), **{f"w{number}": host(size * GIB, 4) for number, size in enumerate(memory, 1)}}


def sharded(hosts: Any, shards: int = 2, of: Header = BIG, model: Any = None, **more: Any) -> _plan.Plan:
    model = model or want(shards=shards)
    return plan(hosts, [model], {"m": of}, **{"workers": [name for name in hosts if name.startswith("w")], **more})


# what a split is: figures of real servers

GEMMA = Header(
    version=3, architecture="gemma3", vocab_size=262_144, tokenizer_model="llama", file_size=253_000_000, has_chat_template=True,
    parameters={"block_count": 18, "embedding_length": 640, "feed_forward_length": 2048, "attention.head_count": 4, "attention.head_count_kv": 1,
                "attention.key_length": 256, "attention.value_length": 256, "attention.sliding_window": 512, "context_length": 32_768},
    tensors=(TensorGroup("Q5_0", "matrix", 32, 126, 78_000_000), TensorGroup("Q8_0", "tied", 32, 1, 171_000_000)))
MEASURED = (_sharding.WORKER_ANONYMOUS, 261 * MIB)
"""One worker with all layers and the output matrix of gemma-3-270m at a context of 2048: 261 MiB RssAnon on a real worker."""


def test_one_worker_takes_what_was_measured_and_not_much_more() -> None:
    memory = _memory.estimate(GEMMA, settings_of(want(context=2048), GEMMA, host().isa))
    (size,) = _sharding.split(GEMMA, memory, [_budget.budget("w1", host())]).bytes
    assert MEASURED[1] <= size - MEASURED[0] <= MEASURED[1] * 1.15


def test_layers_go_in_proportion_to_memory_and_the_output_matrix_to_the_last() -> None:
    found = sharded(fleet(64, 32))
    (shard,), workers = found.shards.values(), {name: found.hosts[name].workers[0] for name in ("w1", "w2")}
    assert shard.workers == ("w2", "w1") and shard.server == "ai1" and found.topology == "sharded"
    assert shard.tensor_split == f"{workers['w2'].layers},{workers['w1'].layers}"
    assert shard.gpu_layers == 17 == workers["w1"].layers + workers["w2"].layers  # 16 layers and the output matrix
    assert 1.4 < workers["w1"].memory_planned / workers["w2"].memory_planned < 2.6
    assert all(worker.memory_limit >= worker.memory_planned for worker in workers.values())
    assert (workers["w1"].threads, workers["w1"].cpus, workers["w1"].model) == (3, 3.5, "m")


def test_layers_that_are_not_loaded_are_counted_as_the_engine_counts_them() -> None:
    """They stand between the other layers and the output matrix: one fewer would leave a layer to the server."""
    more = replace(BIG, architecture="glm4moe", parameters={**BIG.parameters, "block_count": 17, "nextn_predict_layers": 1})
    memory, rooms = _memory.estimate(more, settings_of(want(), more, host().isa)), [_budget.budget(name, host(64 * GIB)) for name in ("w1", "w2")]
    found = _sharding.split(more, memory, rooms)
    assert (found.server_layers, sum(found.layers), found.gpu_layers) == (0, 17, 18)
    assert found.tensor_split == f"{found.layers[0]},{found.layers[1] + 1}"


def test_the_server_keeps_what_the_workers_cannot_hold() -> None:
    found = sharded(fleet(20, 20, server=32))
    (shard,) = found.shards.values()
    (model,) = found.hosts["ai1"].instances[0].models
    assert 2 < shard.gpu_layers < 17
    kept = 17 - shard.gpu_layers
    assert model.memory["repack"] == 36 * GIB * kept // 16 and model.memory["file"] == 2 * GIB + 36 * GIB * kept // 16
    assert model.memory["kv_full"] == whole().kv_full * kept // 16
    assert model.memory["anonymous"] == sum(model.memory[term] for term in (
        "kv_full", "kv_window", "state", "compute", "output", "repack", "prompt_cache", "checkpoints", "projector", "base", "weights"))


def whole() -> _memory.Memory:
    return _memory.estimate(BIG, settings_of(want(), BIG, host().isa))


def test_with_all_layers_on_workers_the_server_maps_the_embedding_only() -> None:
    found = sharded(fleet(64, 64))
    (model,) = found.hosts["ai1"].instances[0].models
    assert (model.memory["repack"], model.memory["kv_full"], model.memory["file"]) == (0, 0, 2 * GIB)
    assert not found.unmet and found.placement == {"m": ("ai1",)}


def test_a_worker_belongs_to_one_model() -> None:
    models = wants({"name": "a", "shards": 1}, {"name": "b", "shards": 2})
    found = plan(fleet(64, 64, 64), models, {"a": BIG, "b": BIG}, **SHARDED)
    sets = [set(shard.workers) for shard in found.shards.values()]
    assert list(map(len, sets)) == [1, 2] and not sets[0] & sets[1]
    more = plan(fleet(64, 64, 64), wants({"name": "a", "shards": 2}, {"name": "b", "shards": 2}), {"a": BIG, "b": BIG}, **SHARDED)
    assert more.unmet == ("b",) and more.refused[0].fits_with == {"shards": 1} and "1 can be had" in more.refused[0].reason


@pytest.mark.parametrize("turn", [1, -1])
def test_the_order_of_models_takes_no_worker_from_one_that_needs_it(turn: int) -> None:
    models = wants(*[{"name": "small", "shards": 1}, {"name": "big", "shards": 1}][::turn])
    found = plan(fleet(64, 2), models, {"small": header(), "big": BIG}, workers=["w1", "w2"])
    assert {name: shard.workers for name, shard in found.shards.items()} == {"big": ("w1",), "small": ("w2",)}


def test_a_model_that_its_workers_no_longer_hold_takes_larger_ones() -> None:
    before = sharded(fleet(4, 4), of=header())
    after = sharded(fleet(4, 4, 64, 64), previous=before.as_dict())
    assert before.shards["m"].workers == ("w1", "w2") and after.shards["m"].workers == ("w3", "w4") and not after.unmet


WIDE = header(12 * GIB, parameters={**header().parameters, "block_count": 4},
              tensors=(TensorGroup("Q4_K", "matrix", 32, 28, 8 * GIB), TensorGroup("Q6_K", "output", 32, 1, GIB)))


def test_layers_that_no_share_of_memory_fits_are_packed() -> None:
    """By their shares the second worker would get a layer more than it holds."""
    memory = _memory.Memory()
    rooms = [_budget.Room(name, host(), _sharding.WORKER_ANONYMOUS + int(size * GIB)) for name, size in (("w1", 3.6), ("w2", 4.1), ("w3", 5.7))]
    found = _sharding.split(WIDE, memory, rooms)
    assert found and (found.server_layers, found.layers) == (0, (1, 1, 3))
    assert all(size <= room.usable for size, room in zip(found.bytes, rooms))


def test_a_worker_too_small_for_a_layer_may_hold_the_output_matrix() -> None:
    found = sharded(fleet(16, 2), of=WIDE)
    assert not found.unmet and (found.shards["m"].workers, found.shards["m"].tensor_split) == (("w1", "w2"), "4,1")


@pytest.mark.parametrize("more, fleet_more, topology, change", [
    ({}, {}, "auto", {"shards": 2}), ({"replicas": 2}, {}, "auto", {}), ({"residency": "on_demand"}, {}, "auto", {}), ({}, {}, "replicated", {}),
    ({}, {"round_trip_ms": {"w1": 20}}, "auto", {})])
def test_workers_are_offered_only_where_the_wish_would_be_heard(more: dict[str, Any], fleet_more: dict[str, Any], topology: str, change: Any) -> None:
    model = want(context=256, prompt_cache_mib=0, quant="Q4_0", **more)
    hosts = {**fleet(20, 20), "ai2": host()}
    found = plan(hosts, [model], {"m": BIG}, topology=topology, workers=["w1", "w2"], **fleet_more)
    assert [refusal.fits_with for refusal in found.refused] == [change, change]


def test_workers_stay_with_their_model() -> None:
    before = sharded(fleet(64, 64))
    after = sharded(fleet(64, 64, 128), previous=before.as_dict())
    assert after.shards["m"] == before.shards["m"] and sharded(fleet(64, 64, 128)).shards["m"] != before.shards["m"]


@pytest.mark.parametrize("trips, refused", [({}, False), ({"w1": 0.4, "w2": 1.0}, False), ({"w1": 20, "w2": 20}, True), ({"w1": 0.2, "w2": 1.1}, True)])
def test_a_slow_link_is_refused_with_its_cost(trips: dict[str, float], refused: bool) -> None:
    found = sharded(fleet(64, 64), round_trip_ms=trips)
    assert bool(found.unmet) == refused and bool(found.shards) != refused
    if trips.get("w1") == 20:
        assert "w1 is 20 ms away" in found.refused[0].reason and "about 60 ms" in found.refused[0].reason and "16.7 tokens" in found.refused[0].reason


def test_the_network_has_its_cost() -> None:
    near, unknown = sharded(fleet(64, 64), round_trip_ms={"w1": 0.2, "w2": 0.4}), sharded(fleet(64, 64))
    (shard,) = near.shards.values()
    assert shard.bytes_per_token == 4 * 128_256 + 2 * (12_500 + 4 * 2048) and shard.network_milliseconds == 0.9
    assert unknown.shards["m"].network_milliseconds is None
    assert any("about 554 kB over the network and waits 0.9 ms" in line for line in near.advice)


def test_a_model_that_fits_one_host_is_better_alone() -> None:
    assert any("ai1 would hold it alone" in line for line in sharded(fleet(64, 64, server=128)).advice)
    assert not any("alone" in line for line in sharded(fleet(64, 64)).advice)


def test_a_host_that_would_read_the_file_again_and_again_is_not_better_alone() -> None:
    """Its memory besides the file fits, and its file does not: nothing of Q6_K is rewritten."""
    mapped = header(40 * GIB, tensors=(TensorGroup("Q6_K", "matrix", 32, 1, 38 * GIB), TensorGroup("Q6_K", "output", 32, 1, GIB)))
    assert not any("alone" in line for line in sharded(fleet(64), 1, mapped).advice)
    assert any("alone" in line for line in sharded(fleet(64, server=64), 1, mapped).advice)


def test_a_server_too_small_for_its_part_is_refused() -> None:
    found = sharded(fleet(12, 12, server=2))
    assert found.unmet == ("m",) and found.refused[0].host == "ai1" and found.refused[0].short_by > 0 and not found.shards
    assert found.hosts["w1"].workers == ()


def test_a_server_too_small_for_its_part_is_told_what_would_fit() -> None:
    model, hosts = want(shards=2, prompt_cache_mib=8192), fleet(64, 64, server=8)
    (refusal,) = sharded(hosts, model=model).refused
    assert set(refusal.fits_with) == {"prompt_cache_mib"}
    assert not sharded(hosts, model=replace(model, prompt_cache_mib=refusal.fits_with["prompt_cache_mib"])).unmet


@pytest.mark.parametrize("server, fits_with", [(64, {"shards": 2}), (8, {})])
def test_fewer_shards_are_offered_where_a_server_holds_the_rest(server: int, fits_with: dict[str, int]) -> None:
    hosts = fleet(12, 12, server=server)
    assert sharded(hosts, 3).refused[0].fits_with == fits_with and bool(sharded(hosts, 2).unmet) != bool(fits_with)


def test_workers_without_memory_are_refused() -> None:
    (refusal,) = sharded(fleet(1, 1)).refused
    assert "output matrix" in refusal.reason


def test_a_model_that_fits_nowhere_is_told_how_many_workers_would_hold_it() -> None:
    found = plan(fleet(20, 20), [want(context=256, prompt_cache_mib=0, quant="Q4_0")], {"m": BIG}, workers=["w1", "w2"])
    assert found.refused[0].fits_with == {"shards": 2} and any("no model is split over these workers" in line for line in found.advice)


# federated and distributed

def test_a_federation_leaves_memory_to_its_front() -> None:
    hosts = {"ai1": host(), "ai2": host()}
    plain, federated = (plan(hosts, topology=topology, gateways=["ai1"]) for topology in ("replicated", "federated"))
    assert plain.hosts["ai1"].memory_usable_bytes - federated.hosts["ai1"].memory_usable_bytes == _budget.FRONT_BYTES
    assert plain.hosts["ai2"] == federated.hosts["ai2"] and federated.placement == plain.placement


def distributed(hosts: dict[str, Any], models: Any = None, **more: Any) -> _plan.Plan:
    return plan(hosts, models or [want()], more.pop("headers", None), topology="distributed", servers=["ai1"], control=["c1"],
                workers=[name for name in hosts if name.startswith("w")], **more)


def test_distributed_runs_models_on_workers_behind_a_frontend() -> None:
    found = distributed({**fleet(16, 16), "c1": host(4 * GIB)})
    front, worker = found.hosts["ai1"].instances[0], found.hosts["w1"].instances[0]
    assert found.placement == {"m": ("w1", "w2")} and worker.name == "localai-worker" and worker.models[0].threads == 3
    assert (front.name, front.models, front.memory_planned) == ("localai", (), _budget.BASE_BYTES)
    assert found.hosts["c1"].instances == () and found.hosts["c1"].memory_reserved_bytes == _budget.SYSTEM_RESERVE_BYTES + _budget.CONTROL_BYTES


def test_every_worker_of_a_model_has_the_same_threads() -> None:
    """The frontend sends the number, whatever the worker has."""
    found = distributed({"ai1": host(), "w1": host(count=16), "w2": host(count=4), "c1": host()})
    assert [found.hosts[name].instances[0].models[0].threads for name in ("w1", "w2")] == [3, 3]


@pytest.mark.parametrize("free, previous, placed", [
    (2 * GIB, {}, True), (1800 * MIB, {}, False), (1800 * MIB, {"placement": {"m": ["w1"]}}, True), (None, {}, True)])
def test_a_new_model_needs_disk_on_its_worker(free: Any, previous: Any, placed: bool) -> None:
    """800 MiB for the file and 1 GiB that must stay free; what is there already needs none."""
    found = distributed({"ai1": host(), "w1": host(store_free_bytes=free), "c1": host()}, previous=previous)
    assert bool(found.placement["m"]) == placed and (placed or found.refused[0].short_by == 24 * MIB and "disk" in found.refused[0].reason)


def test_disk_is_short_by_what_the_files_that_are_placed_leave() -> None:
    hosts = {"ai1": host(), "w1": host(64 * GIB, store_free_bytes=10 * GIB), "c1": host()}
    models, headers = wants({"name": "a"}, {"name": "b"}), {"a": header(6 * GIB), "b": header(6 * GIB)}
    (refusal,) = distributed(hosts, models, headers=headers).refused
    assert (refusal.short_by, refusal.model) == (3 * GIB, "b")  # 12 GiB and the 1 GiB that stays free, of 10
    assert not distributed({**hosts, "w1": replace(hosts["w1"], store_free_bytes=13 * GIB)}, models, headers=headers).refused


def test_a_host_short_of_memory_and_of_disk_is_told_both() -> None:
    """No smaller setting makes a file smaller."""
    hosts = {"ai1": host(), "w1": host(2 * GIB, store_free_bytes=10 * GIB), "c1": host()}
    (refusal,) = distributed(hosts, [want(context=65_536)], headers={"m": header(12 * GIB)}).refused
    assert "of memory besides its file" in refusal.reason and "3.0 GiB (3221225472 bytes) short. Free some disk" in refusal.reason
    assert refusal.fits_with == {} and refusal.short_by > 0


@pytest.mark.parametrize("hosts, models, topology, more, text", [
    (fleet(64), [want(shards=1)], "auto", {"workers": ["w1"], "servers": ["ai1", "w1"]}, "a server and a worker.*w1"),
    (fleet(64), [want(shards=1)], "replicated", {"workers": ["w1"]}, "split over workers in a topology that has none.*shards of m"),
    (fleet(), [want(shards=1)], "auto", {}, "sharded has no worker"), (fleet(64), [want()], "distributed", {"workers": ["w1"]}, "no host for its database"),
    (fleet(), [want()], "auto", {"workers": ["w7"]}, "capacity of a host is not known.*w7"),
    ({"ai1": host(300 * MIB), "w1": host(), "c1": host()}, [want()], "distributed", {"workers": ["w1"], "control": ["c1"]}, "no memory for a frontend")])
def test_roles_that_contradict_each_other(hosts: Any, models: Any, topology: str, more: dict[str, Any], text: str) -> None:
    with pytest.raises(FleetError, match=text):
        plan(hosts, models, {"m": BIG}, topology=topology, **more)
