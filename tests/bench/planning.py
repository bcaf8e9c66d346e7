"""The planner's speed on fleets as they are (several processors, memory nodes, labels, neighbours), and what a change moves."""
from __future__ import annotations

import json
import random
import time
from dataclasses import replace
from typing import Any

from ansible_collections.localai.fleet.plugins.module_utils._capacity import Capacity, Core, NumaNode
from ansible_collections.localai.fleet.plugins.module_utils._fleet import Fleet, Model
from ansible_collections.localai.fleet.plugins.module_utils._gguf import FileSource, Header, TensorGroup, read_header
from ansible_collections.localai.fleet.plugins.module_utils._placement import plan_fleet
from ansible_collections.localai.fleet.plugins.module_utils._wanted import parse_wanted

from tests.bench.tables import show, timed
from tests.lab.model import ensure_model

GIB = 1 << 30
X86 = ("sse42", "avx", "avx2")
ISAS = (X86, (*X86, "avx512", "avx512_vnni"), (*X86, "avx512", "avx512_vnni", "amx"), ("neon", "dotprod", "i8mm"))
LABELS = ("fast", "eu", "quiet")


def host(chance: random.Random) -> Capacity:
    """A server as a fleet has them: 4 to 64 cores on one or two memory nodes, 16 to 512 GiB, one of four processors."""
    cores, memory = chance.choice((4, 8, 16, 32, 64)), chance.choice((16, 32, 64, 128, 256, 512)) * GIB
    half = cores // 2
    nodes = (NumaNode(0, tuple(range(half)), memory // 2), NumaNode(1, tuple(range(half, cores)), memory // 2)) if cores >= 16 and chance.random() < 0.5 else ()
    return Capacity(
        arch="x86_64", isa=chance.choice(ISAS), cpu_model=None, logical_cpus_online=cores, allowed_cpus=tuple(range(cores)),
        physical_cores_allowed=cores, performance_cores_allowed=cores, usable_cores=cores, smt=False, sockets=1, numa_nodes=nodes,
        quota_cores=None, memory_total_bytes=memory, memory_limit_bytes=None, memory_available_bytes=memory,
        memory_used_by_deployment_bytes=0, hugepages_reserved_bytes=0, swap_total_bytes=0, memory_channels=None,
        store_free_bytes=None, virtualization="none", cores=tuple(Core((cpu,), True) for cpu in range(cores)))


def item(chance: random.Random, number: int, count: int) -> dict[str, Any]:
    """A wanted model: everywhere or with replicas, some with a label, a neighbour to avoid, or on demand."""
    found: dict[str, Any] = {"name": f"m{number}", "source": "hf://owner/repository", "context": 1024 * chance.randint(1, 16), "slots": chance.randint(1, 4)}
    kind = chance.random()
    if kind < 0.8:
        found["replicas"] = min(count, chance.choice((1, 2, 3, 10, 40)))
    if kind < 0.2:
        found["replicas"], found["labels"] = 1, [chance.choice(LABELS)]
    elif kind < 0.3 and number:
        found["apart_from"] = [f"m{number - 1}"]
    elif kind < 0.4:
        found["residency"] = "on_demand"
    return found


def sized(header: Header, size: int) -> Header:
    """The header of a file of so many bytes, most of them in matrices of Q4_K."""
    return replace(header, file_size=size, tensors=(TensorGroup("Q4_K", "matrix", 32, 1, size * 3 // 4), TensorGroup("Q6_K", "tied", 32, 1, size // 8)))


def fleet(count: int, names: int, header: Header) -> tuple[dict[str, Capacity], list[Model], Fleet]:
    """A fleet from a fixed seed."""
    chance = random.Random(count)
    hosts = {f"ai{number}": host(chance) for number in range(count)}
    labels = {name: [label for number, label in enumerate(LABELS) if index % (number + 2) == 0] for index, name in enumerate(hosts)}
    wanted = parse_wanted([item(chance, number, count) for number in range(names)])
    models = [Model(each, sized(header, chance.choice((1, 4, 8, 20)) * GIB)) for each in wanted]
    return hosts, models, Fleet(gateways=("ai0",), labels=labels)


def text(hosts: dict[str, Capacity], models: list[Model], given: Fleet) -> str:
    """The plan's JSON."""
    return json.dumps(plan_fleet(hosts, models, "auto", given).as_dict())


def cpu(call: Any) -> tuple[Any, float]:
    """The result and the seconds of processor time it took: the wall clock shows what else the machine does."""
    start = time.process_time()
    return call(), time.process_time() - start


def moved(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Replicas that left a host which still is there, of all."""
    gone = sum(len((set(hosts) & set(after["hosts"])) - set(after["placement"][name])) for name, hosts in before["placement"].items())
    return f"{gone} of {sum(map(len, before['placement'].values()))}"


def run() -> None:
    """How long plans take, that they are the same bytes each time, and what a change of the fleet moves."""
    header = read_header(FileSource(str(ensure_model())), exact=True)
    rows = [["HOSTS", "MODELS", "PLACED", "REFUSED", "SECONDS", "CPU SECONDS", "SAME BYTES", "AGAIN THE SAME"]]
    changes = [["HOSTS", "CHANGE", "MOVED"]]
    for count, names in ((3, 2), (30, 10), (300, 40)):
        hosts, models, given = fleet(count, names, header)
        first, seconds = timed(lambda given=given, hosts=hosts, models=models: text(hosts, models, given))
        backwards = dict(reversed(list(hosts.items())))
        other, used = cpu(lambda given=given, hosts=backwards, models=models: text(hosts, models, given))
        plan = json.loads(first)
        following = replace(given, previous=plan)
        rows.append([str(count), str(names), str(sum(map(len, plan["placement"].values()))), str(len(plan["refused"])), f"{seconds:.2f}", f"{used:.2f}",
                     str(other == first), str(text(hosts, models, following) == first)])
        grown = [replace(model, wanted=replace(model.wanted, context=model.wanted.context * 2)) for model in models[:1]] + models[1:]
        cases = {"one host more": ({**hosts, "new": host(random.Random(1))}, models), "one host less": (dict(list(hosts.items())[:-1]), models),
                 "one context doubled": (hosts, grown)}
        for change, (now, wanted) in cases.items():
            changes.append([str(count), change, moved(plan, json.loads(text(now, wanted, following)))])
    show("Planning a fleet", rows)
    show("What a change moves", changes)
