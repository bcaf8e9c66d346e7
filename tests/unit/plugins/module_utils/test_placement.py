from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _budget, _memory, _plan, _plan_text
from ansible_collections.localai.fleet.plugins.module_utils._capacity import Capacity
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.module_utils._fleet import Model
from ansible_collections.localai.fleet.plugins.module_utils._gguf import Header
from ansible_collections.localai.fleet.plugins.module_utils._needs import kind_of, settings_of
from ansible_collections.localai.fleet.plugins.module_utils._placement import plan_fleet

from fleets import GIB, MIB, anonymous, dual, header, host, just_fits, needed, plan, want, wants


def test_one_host_gets_every_number_from_one_place() -> None:
    found = plan(host(), [want(slots=2, aliases=["gpt-4"])], digests={"m": "ab" * 32}, gateways=["ai1"])
    entry = found.hosts["ai1"]
    (instance,) = entry.instances
    (model,) = instance.models
    assert (found.topology, found.placement, found.refused, found.unmet) == ("standalone", {"m": ("ai1",)}, (), ())
    assert (entry.usable_cores, entry.budget_cores, instance.cpus, instance.threads, model.threads, model.threads_batch) == (8, 6, 6.5, 6, 6, 6)
    assert entry.memory_reserved_bytes == 16 * GIB * 5 // 100 + _budget.GATEWAY_BYTES
    assert entry.memory_usable_bytes + entry.memory_reserved_bytes == 16 * GIB
    assert instance.memory_planned == model.memory["anonymous"] + needed()
    full = instance.memory_planned + 800 * MIB + _budget.SERVER_FILES
    assert 0 <= instance.memory_limit - full < MIB and instance.memory_limit % MIB == 0 and instance.file_share == 1
    assert (model.sha256, model.kind, model.slots, model.context, model.unified, model.batch) == ("ab" * 32, "chat", 2, 4096, True, 512)
    assert (model.prompt_cache, model.checkpoints, model.aliases, model.expected_tokens_per_second) == (256 * MIB, 0, ("gpt-4",), None)


def test_one_resident_instance_of_the_whole_host() -> None:
    data = plan(host()).as_dict()
    (instance,) = data["hosts"]["ai1"]["instances"]
    assert (instance["name"], instance["node"], instance["residency"]) == ("localai", None, "resident")
    assert (data["hosts"]["ai1"]["workers"], data["shards"]) == ([], {})


def test_terms_of_the_plan_are_those_of_the_estimate() -> None:
    (model,) = plan(host()).hosts["ai1"].instances[0].models
    assert set(model.memory) == {"kv_full", "kv_window", "state", "compute", "output", "repack", "prompt_cache", "checkpoints", "projector", "draft", "base",
                                 "weights", "file", "anonymous", "file_backed"}
    assert model.memory["anonymous"] == anonymous(want())


def test_a_model_that_reads_images_has_their_limit_and_their_memory() -> None:
    pixtral = {"projector_type": "pixtral", "vision.embedding_length": 1024, "vision.feed_forward_length": 4096, "vision.patch_size": 16}
    seeing = Model(want(), header(), "ab" * 32, projector="cd" * 32, projector_size=5 * MIB, projector_header=Header(3, "clip", pixtral))
    (found,) = plan_fleet({"ai1": host()}, [seeing]).hosts["ai1"].instances[0].models
    assert (found.projector, found.image_tokens) == ("cd" * 32, 1024) and 100 * MIB < found.memory["projector"] < 400 * MIB
    (blind,) = plan_fleet({"ai1": host()}, [replace(seeing, projector_header=None)]).hosts["ai1"].instances[0].models
    assert blind.image_tokens == 1024 and blind.memory["projector"] > GIB


def test_a_host_without_models_has_no_instance() -> None:
    found = plan({"ai1": host(), "ai2": host()}, [want(hosts=["ai2"])])
    assert found.hosts["ai1"].instances == () and found.placement == {"m": ("ai2",)}
    assert plan(host(), []).hosts["ai1"].instances == ()


def test_every_server_gets_every_model_and_shares_its_cores() -> None:
    models = [want("a"), want("b"), want("c")]
    found = plan({"ai1": host(), "ai2": host(count=2)}, models)
    assert found.topology == "replicated" and set(found.placement.values()) == {("ai1", "ai2")}
    for name, budget, cores in (("ai1", 7, 8), ("ai2", 2, 2)):
        (instance,) = found.hosts[name].instances
        assert [model.name for model in instance.models] == ["a", "b", "c"]
        assert sum(model.threads for model in instance.models) <= max(budget, 3)
        assert instance.memory_planned == needed(*models, cores=cores)
    assert found.hosts["ai2"].instances[0].max_active == 2
    assert any("share 2 cores" in item["message"] for item in found.warnings)


def test_two_models_of_one_file_share_its_pages() -> None:
    models = [want("a"), want("b")]
    shared, apart = (plan(host(), models, digests=digests) for digests in ({"a": "1" * 64, "b": "1" * 64}, {"a": "1" * 64, "b": "2" * 64}))
    difference = apart.hosts["ai1"].instances[0].memory_limit - shared.hosts["ai1"].instances[0].memory_limit
    assert difference == 800 * MIB


@pytest.mark.parametrize("replicas, hosts, placed", [
    (1, [], ("ai2",)), (2, [], ("ai2", "ai3")), (3, [], ("ai1", "ai2", "ai3")), (1, ["ai1", "ai3"], ("ai3",)), (None, ["ai1", "ai3"], ("ai1", "ai3"))])
def test_replicas_go_to_the_servers_with_most_memory(replicas: Any, hosts: list[str], placed: tuple[str, ...]) -> None:
    servers = {"ai1": host(8 * GIB), "ai2": host(32 * GIB), "ai3": host(16 * GIB)}
    assert plan(servers, [want(replicas=replicas, hosts=hosts)]).placement["m"] == placed


def test_replicas_stay_where_they_are_while_they_fit() -> None:
    servers = {"ai1": host(8 * GIB), "ai2": host(32 * GIB)}
    assert plan(servers, [want(replicas=1)], previous={"placement": {"m": ["ai1"]}}).placement["m"] == ("ai1",)
    servers["ai1"] = host(1 * GIB)
    assert plan(servers, [want(replicas=1)], previous={"placement": {"m": ["ai1"]}}).placement["m"] == ("ai2",)


def test_several_replicated_models_spread() -> None:
    models = [want(name, replicas=1) for name in "abc"]
    placed = plan({f"ai{number}": host() for number in range(1, 4)}, models).placement
    assert sorted(placed.values()) == [("ai1",), ("ai2",), ("ai3",)]


@pytest.mark.parametrize("spare, share", [(0, 0.0), (200 * MIB, 0.22), (900 * MIB, 1.0), (5 * GIB, 1.0)])
def test_between_anonymous_and_files_it_runs_with_a_warning(spare: int, share: float) -> None:
    found = plan(just_fits(want(), spare=spare))
    (instance,) = found.hosts["ai1"].instances
    assert instance.file_share == share and instance.memory_limit >= instance.memory_planned
    assert instance.memory_limit <= max(instance.memory_planned, found.hosts["ai1"].memory_usable_bytes)
    assert any("of the model files" in item["message"] for item in found.warnings) == (share < 1)


@pytest.mark.parametrize("short", [1, 10 * MIB, GIB])
def test_below_anonymous_it_is_refused_by_the_byte(short: int) -> None:
    small = want(context=65_536, slots=2)
    found = plan(just_fits(small, spare=-short), [small])
    (refusal,) = found.refused
    assert (refusal.short_by, refusal.model, refusal.host, found.unmet) == (short, "m", "ai1", ("m",))
    assert found.placement == {"m": ()} and found.hosts["ai1"].instances == ()
    assert f"({short} bytes) short" in refusal.reason and "ai1" in refusal.reason
    fixed = replace(small, **refusal.fits_with)
    assert refusal.fits_with and plan(just_fits(small, spare=-short), [fixed]).refused == ()


@pytest.mark.parametrize("more", [
    {"memory": 400 * MIB}, {"memory": 2 * GIB}, {"memory": 16 * GIB}, {"memory": 100 * GIB + 7}, {"memory": 64 * GIB, "memory_limit_bytes": 20 * GIB},
    {"memory": 16 * GIB, "hugepages_reserved_bytes": GIB}, {"memory": 16 * GIB, "memory_limit_bytes": 16 * GIB - 5, "hugepages_reserved_bytes": 3}])
def test_a_host_with_so_many_bytes_more_holds_it_and_with_one_less_does_not(more: dict[str, Any]) -> None:
    large, capacity = want(context=1 << 22), host(**more)
    short = plan(capacity, [large]).refused[0].short_by
    for given, unmet in ((short, ()), (short - 1, ("m",))):
        grown = {name: getattr(capacity, name) + given for name in ("memory_total_bytes", "memory_limit_bytes") if getattr(capacity, name) is not None}
        assert plan(replace(capacity, **grown), [large]).unmet == unmet


@pytest.mark.parametrize("more, short, change", [
    ({}, 1, {"prompt_cache_mib": 255}),
    ({}, 200 * MIB, {"prompt_cache_mib": 56}),
    ({"prompt_cache_mib": 0, "context": 65_536}, 500 * MIB, {"kv_type": "q8_0"}),
    ({"prompt_cache_mib": 0, "context": 65_536, "kv_type": "q8_0"}, 500 * MIB, {"context": 36_864}),
    ({"prompt_cache_mib": 0, "context": 256, "kv_type": "q8_0", "slots": 4}, 2_500_000, {"slots": 2}),
    ({"prompt_cache_mib": 0, "context": 8192, "kv_type": "q8_0"}, 1, {"context": 7936}),
    ({"context": 65_536}, 2_320 * MIB, {"prompt_cache_mib": 0, "kv_type": "q8_0", "context": 3_584}),
    ({}, 10 * GIB, {})])
def test_the_nearest_setting_that_fits(more: dict[str, Any], short: int, change: dict[str, Any]) -> None:
    model = want(**more)
    capacity = just_fits(model, spare=-min(short, needed(model) - 1))
    (refusal,) = plan(capacity, [model]).refused
    assert refusal.fits_with == change
    assert ("It would fit with" in refusal.reason) == bool(change)
    assert change or "choose a smaller model" in refusal.reason


@pytest.mark.parametrize("more, option, step", [
    ({"prompt_cache_mib": 300}, "prompt_cache_mib", 1), ({"prompt_cache_mib": 0, "kv_type": "q8_0", "context": 8192}, "context", 256),
    ({"prompt_cache_mib": 0, "kv_type": "q8_0", "context": 65_536}, "context", 2048), ({"prompt_cache_mib": 0, "slots": 9, "context": 256}, "slots", 1)])
def test_no_nearer_value_of_the_same_option_fits(more: dict[str, Any], option: str, step: int) -> None:
    model = want(**more)
    for short in (1, 3_000_000, 40 * MIB, 90 * MIB):
        capacity = just_fits(model, spare=-short)
        (found,) = plan(capacity, [model]).refused
        if list(found.fits_with) == [option]:
            assert not plan(capacity, [replace(model, **found.fits_with)]).unmet
            assert plan(capacity, [replace(model, **{option: found.fits_with[option] + step})]).unmet
        else:
            assert short > 3_000_000 and option == "slots"


def test_a_smaller_cache_type_is_not_offered_where_heads_refuse_it() -> None:
    odd = replace(header(), parameters={**header().parameters, "attention.key_length": 80, "attention.value_length": 80})
    model = want(context=65_536, prompt_cache_mib=0)
    memory = anonymous(model, odd)
    capacity = host(memory + needed() + _budget.SYSTEM_RESERVE_BYTES - 500 * MIB)
    assert plan(capacity, [model], {"m": odd}).refused[0].fits_with == {"context": 51_200}


def test_models_placed_before_are_named_in_a_refusal() -> None:
    models = [want("a"), want("b", context=65_536)]
    found = plan(just_fits(want("a"), spare=300 * MIB), models)
    assert found.placement == {"a": ("ai1",), "b": ()} and "beside a" in found.refused[0].reason


@pytest.mark.parametrize("cores, more", [(1, 0), (2, 0), (3, 1), (64, 62)])
def test_an_instance_has_half_a_mebibyte_for_each_core_that_the_estimate_does_not_know_of(cores: int, more: int) -> None:
    (instance,) = plan(host(count=cores)).hosts["ai1"].instances
    assert instance.memory_planned == anonymous(want()) + _budget.BASE_BYTES + more * MIB // 2


def test_the_numbers_of_a_refusal_add_up_where_not_even_a_container_fits() -> None:
    (refusal,) = plan(host(600 * MIB), [want()]).refused  # 88 MiB are left to a container that takes 224 before it has a model, and 3 for its threads
    assert "ai1 lacks 139 MiB even for an empty container: " in refusal.reason and refusal.short_by == anonymous(want()) + 139 * MIB


def test_fewer_servers_than_asked_is_unmet_and_only_then_refused() -> None:
    servers = {"ai1": host(), "ai2": host(1 * GIB)}
    every = plan(servers, [want()])
    assert every.placement["m"] == ("ai1",) and [item.host for item in every.refused] == ["ai2"] and every.unmet == ("m",)
    one = plan(servers, [want(replicas=1)])
    assert one.placement["m"] == ("ai1",) and not one.refused and not one.unmet
    two = plan(servers, [want(replicas=2)])
    assert [item.host for item in two.refused] == ["ai2"] and two.unmet == ("m",)


@pytest.mark.parametrize("capacity, usable", [
    (host(4 * GIB), 4 * GIB - 512 * MIB), (host(64 * GIB), 64 * GIB - 64 * GIB * 5 // 100), (host(64 * GIB, memory_limit_bytes=8 * GIB), 8 * GIB - 512 * MIB),
    (host(16 * GIB, hugepages_reserved_bytes=4 * GIB), 12 * GIB - 16 * GIB * 5 // 100),
    (host(64 * GIB, memory_limit_bytes=8 * GIB, hugepages_reserved_bytes=4 * GIB), 8 * GIB - 512 * MIB),
    (host(300 * MIB), 0), (host(memory_total_bytes=None, memory_limit_bytes=4 * GIB), 4 * GIB - 512 * MIB)])
def test_memory_budget_of_a_host(capacity: Capacity, usable: int) -> None:
    assert plan(capacity, []).hosts["ai1"].memory_usable_bytes == usable


@pytest.mark.parametrize("capacity, text", [
    (host(3 * GIB), "less than 4 GB"), (host(count=1), "less than 2"), (host(swap_total_bytes=2 * GIB), "2.0 GiB of swap"),
    (host(memory_available_bytes=100 * MIB), "Other programs"), (host(store_free_bytes=10 * MIB), "disk left")])
def test_hosts_with_a_problem_are_warned_about(capacity: Capacity, text: str) -> None:
    messages = [item["message"] for item in plan(capacity).warnings]
    assert len(messages) == 1 and text in messages[0]


def test_a_good_host_has_no_warning_and_no_advice() -> None:
    found = plan(host(store_free_bytes=100 * GIB))
    assert found.warnings == () and found.advice == ()


@pytest.mark.parametrize("models, of, text", [
    ([want(context=262_144)], header(), "more than the 131072 tokens"), ([want()], header(architecture="brand-new"), "not known here"),
    ([want()], header(tensors=None), "Tensor infos were not read")])
def test_advice(models: Any, of: Header, text: str) -> None:
    assert any(text in line for line in plan(host(256 * GIB), models, {"m": of}).advice)


def test_advice_for_a_model_on_one_of_several_servers() -> None:
    assert any("one server only" in line for line in plan({"ai1": host(), "ai2": host()}, [want(replicas=1)]).advice)


@pytest.mark.parametrize("topology, hosts, chosen", [
    ("auto", 1, "standalone"), ("auto", 3, "replicated"), ("replicated", 1, "replicated"),
    ("standalone", 1, "standalone")])
def test_topology(topology: Any, hosts: int, chosen: str) -> None:
    assert plan({f"ai{number}": host() for number in range(hosts)}, topology=topology).topology == chosen


@pytest.mark.parametrize("field, value", [
    ("memory_total_bytes", float("nan")), ("memory_total_bytes", -1), ("memory_total_bytes", 1 << 80), ("usable_cores", 0), ("usable_cores", 1 << 40),
    ("usable_cores", True), ("quota_cores", float("inf")), ("quota_cores", "2"), ("isa", None), ("isa", (1,)), ("allowed_cpus", 4), ("numa_nodes", ("x",))])
def test_a_damaged_capacity_is_a_sentence(field: str, value: Any) -> None:
    with pytest.raises(FleetError, match=rf"field of a capacity has the wrong form .capacities.ai1.{field}"):
        plan(replace(host(), **{field: value}))


@pytest.mark.parametrize("previous, path", [
    ({"hosts": []}, "hosts"), ({"hosts": {"ai1": {}}}, r"hosts.ai1..instances"), ({"hosts": {"ai1": {"instances": [{"name": "x", "models": None}]}}}, "models"),
    ({"placement": {"m": "ai1"}}, "placement.m."), ({"hosts": {"ai1": {"instances": [], "workers": [{}]}}}, "model"),
    ({"hosts": {"ai1": {"instances": [{"name": "x", "models": [], "memory_limit": float("nan")}]}}}, "memory_limit")])
def test_a_damaged_earlier_plan_is_a_sentence(previous: dict[str, Any], path: str) -> None:
    with pytest.raises(FleetError, match=f"deployed is damaged .previous.*{path}"):
        plan(host(), previous=previous)


def test_a_neighbour_that_is_not_planned_is_no_neighbour() -> None:
    model, _other = wants({"name": "m", "apart_from": ["later"]}, {"name": "later"})
    assert plan(host(), [model]).placement == {"m": ("ai1",)}


@pytest.mark.parametrize("hosts, models, headers, more, text", [
    ({}, [want()], None, {}, "no server to plan for"), (host(), [want(), want()], None, {}, "the same name.*m"),
    (host(), [want(hosts=["ai9"])], None, {}, "pinned to a host that is not a server.*ai9.*ai1"),
    ({"a": host(), "b": host()}, [want()], None, {"topology": "standalone"}, "standalone fleet has one server"),
    (host(), [want()], None, {"topology": "ring"}, "topology is not known"),
    (host(memory_total_bytes=None), [want()], None, {}, "memory of a host is not known"),
    (host(), [want()], {"m": header(parameters={})}, {}, "cannot be planned without its shape.*model m"),
    (host(), [want(kv_type="q8_0")], {"m": replace(header(), parameters={**header().parameters, "attention.key_length": 80})}, {},
     "does not fit the model's heads.*model m")])
def test_input_that_contradicts_itself_is_a_sentence(hosts: Any, models: Any, headers: Any, more: dict[str, Any], text: str) -> None:
    with pytest.raises(FleetError, match=text):
        plan(hosts, models, headers, **more)


@pytest.mark.parametrize("of, more, kind", [
    (header(), {}, "chat"), (header(has_chat_template=False), {}, "completion"), (header(has_chat_template=None), {}, "chat"),
    (header(has_chat_template=False), {"template": {"chat": "x"}}, "chat"), (header(), {"kind": "completion"}, "completion"),
    (header(parameters={"pooling_type": 1}), {}, "embedding"), (header(parameters={"pooling_type": 4}), {}, "rerank"),
    (header(parameters={"pooling_type": 0}), {}, "chat"), (header(parameters={"attention.causal": False}), {}, "embedding"),
    (header(architecture="bert"), {}, "embedding")])
def test_kind_comes_from_the_header_unless_wanted(of: Header, more: dict[str, Any], kind: str) -> None:
    assert kind_of(want(**more), of) == kind


def test_embedding_models_read_their_context_at_once_and_cache_no_prompts() -> None:
    found = settings_of(want(context=2048), replace(header(), parameters={**header().parameters, "pooling_type": 3}))
    assert (found.batch, found.ubatch, found.prompt_cache, found.checkpoints, found.embeddings) == (2048, 2048, 0, 0, True)


def test_models_with_windows_get_checkpoints() -> None:
    window = replace(header(architecture="gemma3"), parameters={**header().parameters, "attention.sliding_window": 512})
    assert settings_of(want(), window).checkpoints == _memory.CHECKPOINTS
    assert settings_of(want(), header()).checkpoints == 0


def test_the_same_input_gives_the_same_bytes_in_any_order() -> None:
    servers = {f"ai{number}": host((number + 4) * GIB) for number in range(6)}
    models = [want("a"), want("b", replicas=2), want("c", hosts=["ai3", "ai1"])]
    first = _plan_text.text(plan(servers, models).as_dict())
    backwards = {name: servers[name] for name in reversed(list(servers))}
    assert _plan_text.text(plan(backwards, models, {model.name: header() for model in reversed(models)}).as_dict()) == first
    assert json.loads(first)["schema"] == 1


def test_a_large_fleet_is_planned_quickly() -> None:
    models = [want(f"m{number}", **({"replicas": 20} if number % 2 else {})) for number in range(40)]
    start = time.process_time()
    found = plan({f"ai{number}": host((8 + number % 7 * 8) * GIB) for number in range(300)}, models)
    _plan_text.text(found.as_dict())
    assert len(found.hosts) == 300 and time.process_time() - start < 20


# The plan for people

def test_rows_and_table() -> None:
    data = plan({"ai2": host(), "ai1": host(3 * GIB)}, [want(slots=2)]).as_dict()
    found = _plan_text.rows(data)
    assert [row["host"] for row in found] == ["ai1", "ai2"] and set(found[0]) == set(_plan_text.COLUMNS)
    lines = _plan_text.table(data)
    assert lines[0].split() == ["host", "model", "threads", "context", "slots", "memory", "planned", "memory", "limit"]
    assert lines[1].startswith("ai1") and "GiB" in lines[1] and lines[3].startswith("warning: ai1: The host has 3.0 GiB")


def test_what_is_said_of_several_hosts_is_said_once() -> None:
    hosts = {f"ai{number}": host(quota_cores=1.5, usable_cores=1) for number in range(1, 8)}
    said = [line for line in _plan_text.notes(plan(hosts).as_dict()) if "quota" in line]
    assert len(said) == 1 and said[0].startswith("warning: ai1, ai2, ai3, ai4, ai5 and 2 more: The CPU quota of 1.5 cores leaves a part of a core")


def test_the_table_names_instances_where_there_are_others_and_workers() -> None:
    data = plan(dual()).as_dict()
    lines = _plan_text.table(data)
    assert lines[0].split()[:2] == ["host", "instance"] and lines[2].split()[:3] == ["ai1", "localai-node1", "m"]
    data["hosts"]["w1"] = {"instances": [], "workers": [{"model": "m", "layers": 9, "threads": 3, "memory_limit": GIB}]}
    assert "worker: w1: 9 layers of m, threads 3, memory limit 1.0 GiB" in _plan_text.table(data)


def test_text_of_no_plan_is_empty() -> None:
    assert _plan_text.text({}) == ""


@pytest.mark.parametrize("size, text", [(0, "0 MiB"), (1, "1 MiB"), (5 * MIB, "5 MiB"), (GIB, "1.0 GiB"), (GIB + 600 * MIB, "1.6 GiB")])
def test_sizes_for_people(size: int, text: str) -> None:
    assert _plan.gib(size) == text
