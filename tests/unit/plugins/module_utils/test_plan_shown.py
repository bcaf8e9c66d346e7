"""Plans as the placement engine makes them, of every shape: all their memory is shown, and every model in them is explained."""
from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _plan_diff, _plan_explain, _plan_html, _plan_text, _plan_view
from ansible_collections.localai.fleet.plugins.module_utils._explain import explain
from ansible_collections.localai.fleet.plugins.module_utils._gguf import TensorGroup
from ansible_collections.localai.fleet.plugins.module_utils._needs import settings_of
from fleets import GIB, dual, header, host, plan, want, wants

BIG = header(40 * GIB, tensors=(TensorGroup("Q4_K", "matrix", 32, 1, 20 * GIB), TensorGroup("Q6_K", "output", 32, 1, GIB)))
ON_DEMAND = wants({"name": "m"}, *({"name": f"d{index}", "residency": "on_demand", "context": 1024 << index} for index in range(3)))
FLEETS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "one": ({"ai1": host()}, wants({"name": "m"}), {}),
    "nothing": ({"ai1": host()}, [], {}),
    "gateway": ({"ai1": host(hugepages_reserved_bytes=GIB), "ai2": host(8 * GIB, 2)}, wants({"name": "m"}, {"name": "n", "replicas": 1}),
                {"gateways": ["ai1"]}),
    "little": ({"ai1": host(3 * GIB, 1)}, wants({"name": "m"}, {"name": "n"}), {"headers": {"n": header(2 * GIB)}}),
    "on demand": ({"ai1": host()}, ON_DEMAND, {}),
    "memory nodes": ({"ai1": dual(), "ai2": dual(nodes=4)}, ON_DEMAND, {}),
    "sharded": ({"ai1": host(), "w1": host(64 * GIB, 4), "w2": host(32 * GIB, 4)}, [want(shards=2)], {"headers": {"m": BIG}, "workers": ["w1", "w2"]}),
    "distributed": ({"ai1": host(), "w1": host(64 * GIB), "c1": host(4 * GIB)}, wants({"name": "m"}),
                    {"topology": "distributed", "servers": ["ai1"], "workers": ["w1"], "control": ["c1"]}),
    "refused": ({"ai1": host(), "ai2": host(2 * GIB)}, wants({"name": "m"}), {"headers": {"m": header(4 * GIB)}})}


@pytest.mark.parametrize("name", FLEETS)
def test_bars_show_all_memory_of_every_host(name: str) -> None:
    hosts, models, more = FLEETS[name]
    for entry in plan(hosts, models, **more).as_dict()["hosts"].values():
        parts = {part.term.key: part.bytes for part in _plan_view.host_parts(entry)}
        assert sum(parts.values()) == entry["memory_usable_bytes"] + entry["memory_reserved_bytes"] and min(parts.values()) > 0
        for instance in entry["instances"]:
            assert sum(_plan_view.instance_parts(instance).values()) == instance["memory_limit"]


@pytest.mark.parametrize("name", FLEETS)
def test_pages_and_texts_are_made_of_every_plan(name: str) -> None:
    hosts, models, more = FLEETS[name]
    made = plan(hosts, models, **more).as_dict()
    changes = _plan_diff.changes(_plan_diff.deployed({}), made)
    ElementTree.fromstring(_plan_html.page(made, changes).split("\n", 1)[1])
    assert _plan_diff.changes(made, made) == () and (_plan_text.table(made) and (changes or not any(made["placement"].values())))


@pytest.mark.parametrize("name", FLEETS)
def test_every_model_of_every_plan_is_explained_by_its_own_numbers(name: str) -> None:
    hosts, models, more = FLEETS[name]
    made = plan(hosts, models, **more).as_dict()
    for model in models:
        of = (more.get("headers") or {}).get(model.name) or header()
        lines = _plan_explain.explanation(model.name, made, hosts, lambda isa, of=of, model=model: explain(of, settings_of(model, of, isa)), of)
        places = [(entry, part) for entry in made["hosts"].values() for part in entry["instances"] if model.name in [each["name"] for each in part["models"]]]
        for _entry, part in places:
            for words in (f"memory_planned = {part['memory_planned']:,} ", f"memory_limit = {part['memory_limit']:,} ",
                          f"LOCALAI_THREADS = {part['threads']},", f"container = {part['cpus']:g},"):
                assert any(words in line for line in lines), (words, lines)
        assert places or any(line.startswith("refused: ") for line in lines)


def test_every_number_of_a_split_model_adds_up() -> None:
    hosts, models, more = FLEETS["sharded"]
    made = plan(hosts, models, **more).as_dict()
    lines = _plan_explain.explanation("m", made, hosts, lambda isa: explain(BIG, settings_of(models[0], BIG, isa)), BIG)
    workers = [worker for host in made["shards"]["m"]["workers"] for worker in made["hosts"][host]["workers"]]
    sums = [lines[index + 1].split("= ", 1)[1] for index, line in enumerate(lines) if "memory_planned = " in line and line.startswith("  w")]
    sizes = [[int(part.rsplit(" ", 1)[1].replace(",", "")) for part in text.split(" + ")] for text in sums]
    assert [sum(each) for each in sizes] == [worker["memory_planned"] for worker in workers] and len(workers) == 2
    assert sum(int(count) for count in re.findall(r"weights of (\d+) layers? ", " ".join(sums))) == sum(worker["layers"] for worker in workers) - 1
    assert f"the mean of {20 * GIB:,} of all layers and 10 % more" in lines[lines.index("m on its 2 workers w2, w1:") + 1]
    assert "output matrix" not in sums[0] and "output matrix" in sums[1]
    total = next(line for line in lines if line.startswith("        = 4 * vocabulary"))
    assert eval(re.sub(r"[a-z]+ ", "", total.split("= ")[1].replace("2 workers", "2"))) == made["shards"]["m"]["bytes_per_token"]
    whole, *less = (int(part.rsplit(" ", 1)[1].replace(",", "")) for part in next(line for line in lines if "= anonymous " in line).split(" - "))
    assert whole - sum(less) == made["hosts"]["ai1"]["instances"][0]["models"][0]["memory"]["anonymous"]


def test_the_threads_of_a_memory_node_add_up_to_its_budget() -> None:
    hosts, models, more = FLEETS["memory nodes"]
    made = plan(hosts, models, **more).as_dict()
    for entry in made["hosts"].values():
        nodes = {part["node"]: part for part in entry["instances"]}
        assert sum(_plan_explain._budget(entry, part) for part in nodes.values()) == entry["budget_cores"]
