"""Where models go and what stays: labels, neighbours, pack and spread, least movement, and what holds of any plan."""
from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _budget, _plan
from ansible_collections.localai.fleet.plugins.module_utils._capacity import Capacity
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from ansible_collections.localai.fleet.plugins.module_utils._gguf import TensorGroup

from fleets import GIB, MIB, dual, header, host, just_fits, needed, plan, want, wants


def servers(count: int, memory: int = 16 * GIB) -> dict[str, Capacity]:
    return {f"ai{number}": host(memory) for number in range(1, count + 1)}


def moves(before: _plan.Plan, after: _plan.Plan) -> int:
    """Replicas that left a host which still is there, and came to another."""
    return sum(len(set(hosts) & set(after.hosts) - set(after.placement[name])) for name, hosts in before.placement.items() if name in after.placement)


def again(before: _plan.Plan, hosts: Any, models: Any, headers: Any = None, **more: Any) -> _plan.Plan:
    return plan(hosts, models, headers, previous=json.loads(json.dumps(before.as_dict())), **more)


# labels and neighbours

@pytest.mark.parametrize("labels, placed", [
    (["fast"], ("ai1", "ai2")), (["fast", "eu"], ("ai2",)), ([], ("ai1", "ai2", "ai3"))])
def test_hosts_must_carry_every_label(labels: list[str], placed: tuple[str, ...]) -> None:
    assert plan(servers(3), [want(labels=labels)], labels={"ai1": ["fast"], "ai2": ["eu", "fast"]}).placement["m"] == placed


def test_pins_and_labels_hold_together() -> None:
    found = plan(servers(3), [want(hosts=["ai1", "ai3"], labels=["fast"])], labels={"ai1": ["fast"], "ai2": ["fast"]})
    assert found.placement["m"] == ("ai1",) and not found.unmet


def test_models_apart_share_no_host_whoever_says_it() -> None:
    for models in (wants({"name": "a", "replicas": 1, "apart_from": ["b"]}, {"name": "b", "replicas": 1}),
                   wants({"name": "a", "replicas": 1}, {"name": "b", "replicas": 1, "apart_from": ["a"]})):
        placed = plan({"ai1": host(64 * GIB), "ai2": host(4 * GIB)}, models).placement
        assert sorted(placed.values()) == [("ai1",), ("ai2",)]


def test_a_model_for_every_server_goes_to_those_that_are_left() -> None:
    models = wants({"name": "a", "apart_from": ["b"]}, {"name": "b", "replicas": 1})
    found = plan(servers(3), models)
    assert len(found.placement["a"]) == 2 and not set(found.placement["a"]) & set(found.placement["b"])
    assert (found.unmet, found.refused) == ((), ())


def test_what_would_be_left_without_a_place_chooses_first() -> None:
    """By size and room alone the small model would take the only host that holds the large one."""
    small, large = wants({"name": "small", "replicas": 1}, {"name": "large", "context": 65_536, "apart_from": ["small"]})
    found = plan({"ai1": just_fits(small), "ai2": host()}, [small, large])
    assert found.placement == {"small": ("ai1",), "large": ("ai2",)} and not found.unmet


def test_no_host_left_apart_is_refused_without_bytes() -> None:
    models = wants({"name": "a", "replicas": 2}, {"name": "b", "replicas": 1, "apart_from": ["a"]})
    found = plan(servers(2), models)
    assert found.unmet == ("b",) and {(item.short_by, item.model) for item in found.refused} == {(0, "b")}
    assert "apart from a" in found.refused[0].reason


def test_two_models_apart_for_every_server_contradict_each_other() -> None:
    with pytest.raises(FleetError, match="both wanted on every server.*a and b"):
        plan(servers(2), wants({"name": "a", "apart_from": ["b"]}, {"name": "b"}))


@pytest.mark.parametrize("more, placed, sentence", [
    ({"labels": ["gpu", "big"]}, (), "a is wanted on every server with the labels gpu, big, and there is none. "
     "Set common_labels of a host; known labels are fast."),
    ({"labels": ["gpu"], "replicas": 1, "shards": 1}, (), "a is wanted on 1 server with the labels gpu, and there is none. Set common_labels"),
    ({"labels": ["fast"], "replicas": 2}, ("ai1",), "a is wanted on 2 servers with the labels fast, and there is 1. Lower replicas, or set common_labels"),
    ({"replicas": 3}, ("ai1", "ai2"), "a is wanted on 3 servers, and there are 2. Lower replicas, or add a host.")])
def test_fewer_servers_than_a_model_asks_for_are_a_refusal(more: dict[str, Any], placed: tuple[str, ...], sentence: str) -> None:
    """The others have their plan all the same."""
    workers = {"w1": host()} if "shards" in more else {}
    found = plan({**servers(2), **workers}, wants({"name": "a", **more}, {"name": "b"}), labels={"ai1": ["fast"]}, workers=list(workers))
    (refusal,) = found.refused
    assert (refusal.model, refusal.short_by, found.unmet) == ("a", 0, ("a",)) and refusal.host == ("ai2" if more.get("labels") == ["fast"] else "ai1")
    assert refusal.reason.startswith(sentence) and found.placement == {"a": placed, "b": ("ai1", "ai2")}


# a model for every server, apart from others

def everywhere(*others: dict[str, Any], **more: Any) -> list[Any]:
    """A large model for every server, apart from the first of the others."""
    return wants({"name": "all", "context": 32_768, "apart_from": [others[0]["name"]], **more}, *others)


@pytest.mark.parametrize("replicas, placed", [(1, ("ai3",)), (2, ("ai1", "ai3"))])
@pytest.mark.parametrize("placement", ["spread", "pack"])
def test_what_it_is_apart_from_goes_where_it_does_not_fit(placement: str, replicas: int, placed: tuple[str, ...]) -> None:
    models = everywhere({"name": "one", "replicas": replicas})
    found = plan({"ai1": host(8 * GIB), "ai2": host(8 * GIB), "ai3": just_fits(models[1])}, models, placement=placement)
    assert not found.unmet and found.placement["one"] == placed and set(found.placement["all"]) == {"ai1", "ai2", "ai3"} - set(placed)


def test_what_it_leaves_serves_others() -> None:
    """`two` does not fit beside it on ai1, and does once `one` is there in its place."""
    models = everywhere({"name": "one", "replicas": 1, "hosts": ["ai1"]}, {"name": "two", "replicas": 2, "context": 8192})
    found = plan({"ai1": just_fits(*models[1:]), "ai2": host()}, models)
    assert found.placement == {"all": ("ai2",), "one": ("ai1",), "two": ("ai1", "ai2")} and not found.unmet


def test_two_that_it_is_apart_from_share_a_host_where_it_has_no_other() -> None:
    models = everywhere({"name": "one", "replicas": 1, "apart_from": []}, {"name": "two", "replicas": 1, "hosts": ["ai2"], "apart_from": ["all"]})
    found = plan({"ai1": host(8 * GIB), "ai2": host()}, models, placement="pack")
    assert found.placement == {"all": ("ai1",), "one": ("ai2",), "two": ("ai2",)} and not found.unmet


def test_what_a_room_is_left_for_goes_there_once() -> None:
    """`three` takes the last host of `all` for its best one: the places that it goes on to are others."""
    models = wants({"name": "large", "replicas": 1, "hosts": ["ai2"], "context": 1 << 18, "prompt_cache_mib": 0},
                   {"name": "three", "replicas": 3, "context": 1024, "prompt_cache_mib": 0},
                   {"name": "all", "context": 1 << 18, "prompt_cache_mib": 0, "apart_from": ["three"]})
    hosts = {**servers(2), "ai3": host(3 * GIB)}
    found = plan(hosts, models)
    assert found.placement == {"large": ("ai2",), "three": ("ai1", "ai2", "ai3"), "all": ()} and found.unmet == ("all",)
    assert again(found, hosts, models).placement == found.placement


def test_a_refusal_does_not_count_what_would_make_way() -> None:
    models = everywhere({"name": "one", "replicas": 1, "hosts": ["ai1"], "context": 65_536})
    (refusal,) = plan({"ai1": just_fits(models[1], spare=-10 * MIB), "ai2": host()}, models).refused
    assert (refusal.model, refusal.short_by) == ("one", 10 * MIB) and "beside all" not in refusal.reason


def test_where_those_that_it_is_apart_from_are_everywhere_it_is_refused() -> None:
    models = everywhere({"name": "one", "replicas": 2})
    found = again(plan(servers(2), models[1:]), servers(2), models)
    assert found.unmet == ("all",) and found.placement["one"] == ("ai1", "ai2")
    assert all("apart from one" in item.reason and item.short_by == 0 for item in found.refused)


def test_a_further_model_for_every_server_moves_only_what_it_must() -> None:
    """`one` leaves to it the host that holds it; `two` stays, though a new start would place it elsewhere."""
    models = everywhere({"name": "one", "replicas": 1}, {"name": "two", "replicas": 1})
    hosts = {"ai1": host(), "ai2": host(), "ai3": just_fits(models[1])}
    before = plan(hosts, [replace(models[1], hosts=("ai1",)), replace(models[2], hosts=("ai2",))])
    after = again(before, hosts, models)
    assert after.placement == {"all": ("ai1", "ai2"), "one": ("ai3",), "two": ("ai2",)} and moves(before, after) == 1
    assert json.dumps(again(after, hosts, models).as_dict()) == json.dumps(after.as_dict())


def test_a_further_model_for_every_server_makes_way_for_what_is_there() -> None:
    """On ai1 it would not fit beside `two`, and it need not: `one` is there."""
    models = everywhere({"name": "one", "replicas": 1}, {"name": "two", "replicas": 1})
    hosts = {"ai1": just_fits(models[0], models[1], spare=10 * MIB), "ai2": host()}
    before = plan(hosts, [replace(model, hosts=("ai1",)) for model in models[1:]])
    after = again(before, hosts, models)
    assert after.placement == {"all": ("ai2",), "one": ("ai1",), "two": ("ai1",)} and not after.unmet


# spread and pack

def test_spread_takes_the_emptiest_and_pack_the_fewest_hosts() -> None:
    models = [want(name, replicas=1) for name in "abcd"]
    spread, pack = (plan(servers(4), models, placement=placement) for placement in ("spread", "pack"))
    assert len(set(spread.placement.values())) == 4 and len(set(pack.placement.values())) == 1


def test_pack_keeps_replicas_on_hosts_of_their_own() -> None:
    found = plan(servers(4), [want("a", replicas=2), want("b", replicas=2)], placement="pack")
    assert len(found.placement["a"]) == 2 and found.placement["a"] == found.placement["b"]


def test_hosts_alike_in_memory_share_the_load() -> None:
    models = wants({"name": "a", "replicas": 1, "weight": 9}, {"name": "b", "replicas": 1, "weight": 1}, {"name": "c", "replicas": 2})
    found = plan({"ai1": host(count=4), "ai2": host(count=32)}, models[:1])
    assert found.placement["a"] == ("ai1",)  # both are empty: by name
    assert sorted(plan(servers(2), models).placement[name] for name in "ab") == [("ai1",), ("ai2",)]


def test_an_unknown_placement_is_a_sentence() -> None:
    with pytest.raises(FleetError, match="placement is not known.*spread, pack"):
        plan(host(), placement="tight")


# what stays

FLEET = [{"name": f"m{number}", "replicas": 2, "context": 8192} for number in range(6)]


def test_one_host_more_moves_nothing() -> None:
    before = plan(servers(4), wants(*FLEET))
    after = again(before, servers(5), wants(*FLEET))
    assert moves(before, after) == 0 and after.placement == before.placement


def test_a_model_for_every_server_comes_to_a_new_one() -> None:
    models = wants(*FLEET, {"name": "all"})
    before = plan(servers(4), models)
    after = again(before, servers(5), models)
    assert moves(before, after) == 0 and after.placement["all"][-1] == "ai5"


def test_one_model_more_moves_nothing_while_there_is_room() -> None:
    before = plan(servers(4), wants(*FLEET))
    after = again(before, servers(4), wants(*FLEET, {"name": "new", "replicas": 1, "context": 32_768}))
    assert moves(before, after) == 0 and after.placement["new"]


def test_one_host_less_moves_only_its_replicas() -> None:
    before = plan(servers(4), wants(*FLEET))
    left = {name: capacity for name, capacity in servers(4).items() if name != "ai4"}
    after = again(before, left, wants(*FLEET))
    assert moves(before, after) == 0 and all(len(hosts) == 2 for hosts in after.placement.values())
    assert {name for name in before.placement if after.placement[name] != before.placement[name]} == {
        name for name, hosts in before.placement.items() if "ai4" in hosts}


def test_a_bigger_context_moves_only_what_no_longer_fits() -> None:
    models = wants({"name": "a", "replicas": 1}, {"name": "b", "replicas": 1})
    tight = {"ai1": just_fits(*models, spare=100 * MIB), "ai2": host(1200 * MIB), "ai3": host(16 * GIB)}
    before = plan(tight, [replace(model, hosts=("ai1",)) for model in models])
    grown = [models[0], replace(models[1], context=16_384)]
    after = again(before, tight, grown)
    assert before.placement == {"a": ("ai1",), "b": ("ai1",)} and after.placement == {"a": ("ai1",), "b": ("ai3",)}


def test_the_model_that_grew_moves_though_it_is_the_smaller_one() -> None:
    models = wants({"name": "big", "replicas": 1, "context": 16_384}, {"name": "small", "replicas": 1})
    tight = {"ai1": just_fits(*models, spare=100 * MIB), "ai2": host(16 * GIB)}
    before = plan(tight, [replace(model, hosts=("ai1",)) for model in models])
    after = again(before, tight, [models[0], replace(models[1], context=8192)])
    assert after.placement == {"big": ("ai1",), "small": ("ai2",)} and moves(before, after) == 1


def test_one_move_makes_room_for_a_model_that_fits_nowhere_else() -> None:
    small, big = want("small", replicas=1), want("big", replicas=1, context=32_768)
    hosts = {"ai1": just_fits(big), "ai2": just_fits(small, spare=10 * MIB)}
    before = plan(hosts, [small])
    assert before.placement["small"] == ("ai1",)
    after = again(before, hosts, [small, big])
    assert after.placement == {"small": ("ai2",), "big": ("ai1",)} and not after.unmet


def test_fewer_replicas_leave_one_where_it_is() -> None:
    before = plan(servers(3), [want(replicas=3)])
    after = again(before, servers(3), [want(replicas=1)])
    assert len(after.placement["m"]) == 1 and after.placement["m"][0] in before.placement["m"]


@pytest.mark.parametrize("previous", [{}, {"placement": {}}, {"hosts": {}}, {"placement": {"gone": ["ai9"]}}, {"placement": {"m": ["ai9", "ai2"]}}])
def test_an_earlier_plan_may_know_other_hosts_and_models(previous: dict[str, Any]) -> None:
    placed = plan(servers(3), [want(replicas=1)], previous=previous).placement["m"]
    assert placed == (("ai2",) if "m" in previous.get("placement", {}) else ("ai1",))


# what holds of any plan

def random_fleet(seed: int) -> tuple[dict[str, Capacity], list[Any], dict[str, Any], dict[str, Any]]:
    chance = random.Random(seed)
    hosts = {f"ai{n}": chance.choice((host, dual))(chance.choice((4, 8, 16, 32)) * GIB, chance.choice((4, 8, 16))) for n in range(chance.randint(2, 12))}
    names = [f"m{n}" for n in range(chance.randint(1, 10))]
    items: list[dict[str, Any]] = []
    for name in names:
        item: dict[str, Any] = {"name": name, "context": chance.choice((1024, 8192, 65_536)), "slots": chance.randint(1, 3),
                                "weight": chance.choice((0.5, 1, 3)), "residency": chance.choice(("resident", "resident", "on_demand"))}
        if chance.random() < 0.7:
            item["replicas"] = chance.randint(1, max(1, len(hosts) // 2))
            others = [other for other in names if other != name]
            item["apart_from"] = chance.sample(others, 1) if others and chance.random() < 0.3 else []
        if chance.random() < 0.2:
            item["hosts"] = sorted(chance.sample(sorted(hosts), max(item.get("replicas", 1), len(hosts) // 2)))
        items.append(item)
    headers = {name: header(chance.choice((400 * MIB, 2 * GIB, 6 * GIB))) for name in names}
    return hosts, wants(*items), headers, {"placement": chance.choice(("spread", "pack")), "gateways": ["ai0"]}


@pytest.mark.parametrize("seed", range(60))
def test_a_plan_made_from_itself_is_itself(seed: int) -> None:
    hosts, models, headers, fleet = random_fleet(seed)
    first = plan(hosts, models, headers, **fleet)
    second = again(first, hosts, models, headers, **fleet)
    assert json.dumps(second.as_dict()) == json.dumps(first.as_dict())


@pytest.mark.parametrize("seed", range(60, 90))
def test_what_changed_does_not_swing_back(seed: int) -> None:
    """A plan from another fleet's plan settles at once."""
    hosts, models, headers, fleet = random_fleet(seed)
    grown = [replace(model, context=model.context * 2) for model in models]
    first = again(plan(hosts, models, headers, **fleet), hosts, grown, headers, **fleet)
    assert json.dumps(again(first, hosts, grown, headers, **fleet).as_dict()) == json.dumps(first.as_dict())


@pytest.mark.parametrize("seed", range(60))
def test_no_plan_breaks_its_rules(seed: int) -> None:
    hosts, models, headers, fleet = random_fleet(seed)
    found = plan(hosts, models, headers, **fleet)
    by_name = {model.name: model for model in models}
    for entry in found.hosts.values():
        assert sum(instance.memory_planned for instance in entry.instances) <= entry.memory_usable_bytes
        assert sum(instance.memory_limit for instance in entry.instances) <= entry.memory_usable_bytes
        assert sum(at_once(instance) for instance in entry.instances) <= max(entry.budget_cores, len(entry.instances))
        here = {model.name for instance in entry.instances for model in instance.models}
        assert not any(set(by_name[name].apart_from) & here for name in here)
        assert len({instance.name for instance in entry.instances}) == len(entry.instances)
    for name, placed in found.placement.items():
        model = by_name[name]
        assert set(placed) <= set(model.hosts or hosts) and len(placed) <= (model.replicas or len(hosts))
        assert (name in found.unmet) <= any(item.model == name for item in found.refused)


def at_once(instance: _plan.Instance) -> int:
    """Threads of the models that can run at the same time."""
    return sum(sorted((model.threads for model in instance.models), reverse=True)[:instance.max_active])


@pytest.mark.parametrize("seed", range(10))
def test_the_order_of_hosts_does_not_show(seed: int) -> None:
    hosts, models, headers, fleet = random_fleet(seed)
    names = list(hosts)
    random.Random(seed).shuffle(names)
    shuffled = {name: hosts[name] for name in names}
    backwards = {name: headers[name] for name in reversed(list(headers))}
    assert json.dumps(plan(shuffled, models, backwards, **fleet).as_dict()) == json.dumps(plan(hosts, models, headers, **fleet).as_dict())


# refusals

@pytest.mark.parametrize("quant, types, change", [
    ("Q4_K_M", "Q4_K", {"quant": "Q3_K_M"}), ("Q4_0", "Q4_0", {}), ("F16", "Q4_K", {"quant": "Q8_0"})])
def test_a_smaller_quant_is_an_estimate(quant: str, types: str, change: dict[str, str]) -> None:
    """On AVX2 the matrices of Q4_K are rewritten in memory, those of Q3_K and Q8_0 are not."""
    of = header(16 * GIB, tensors=(TensorGroup(types, "matrix", 32, 1, 14 * GIB), TensorGroup("Q6_K", "tied", 32, 1, 2 * GIB)))
    found = plan(host(15 * GIB), [want(quant=quant, prompt_cache_mib=0, context=256)], {"m": of})
    assert found.refused[0].fits_with == change and ("by an estimate from bits per weight" in found.refused[0].reason) == bool(change)


def test_a_smaller_quant_that_needs_more_hides_no_other_way() -> None:
    """Q6_K stays mapped on AVX2, and half of Q2_K may be rewritten: with a quantized cache it fits, with a smaller quant it does not."""
    of = header(16 * GIB, tensors=(TensorGroup("Q6_K", "matrix", 32, 1, 14 * GIB), TensorGroup("Q6_K", "tied", 32, 1, 2 * GIB)))
    model = want(quant="Q6_K", prompt_cache_mib=0, context=256, slots=1)
    smaller = replace(model, kv_type="q8_0")
    room = needed(smaller, of=of) + _budget.SYSTEM_RESERVE_BYTES
    assert plan(host(room), [model], {"m": of}).refused[0].fits_with == {"kv_type": "q8_0"}


def test_other_hosts_that_would_hold_a_pinned_model_are_named() -> None:
    found = plan({"ai1": host(2 * GIB), "ai2": host(), "ai3": host()}, [want(hosts=["ai1"], context=65_536)])
    assert found.refused[0].fits_on == ("ai2", "ai3") and "ai2, ai3 would hold it as it is" in found.refused[0].reason
