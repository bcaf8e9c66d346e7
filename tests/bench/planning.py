"""The planner's speed, and that the same fleet gives the same bytes."""
from __future__ import annotations

import json
import random
from functools import partial
from typing import Any

from ansible_collections.localai.fleet.plugins.module_utils._capacity import Capacity
from ansible_collections.localai.fleet.plugins.module_utils._gguf import FileSource, read_header
from ansible_collections.localai.fleet.plugins.module_utils._placement import plan_fleet
from ansible_collections.localai.fleet.plugins.module_utils._wanted import parse_wanted

from tests.bench.tables import show, timed
from tests.lab.model import ensure_model

GIB = 1 << 30


def host(chance: random.Random) -> Capacity:
    """A server as a fleet has them: 4 to 64 cores, 16 to 512 GiB."""
    cores, memory = chance.choice((4, 8, 16, 32, 64)), chance.choice((16, 32, 64, 128, 256, 512)) * GIB
    return Capacity(
        arch="x86_64", isa=("sse42", "avx", "avx2"), cpu_model=None, logical_cpus_online=cores, allowed_cpus=tuple(range(cores)),
        physical_cores_allowed=cores, performance_cores_allowed=cores, usable_cores=cores, smt=False, sockets=1, numa_nodes=(),
        quota_cores=None, memory_total_bytes=memory, memory_limit_bytes=None, memory_available_bytes=memory,
        memory_used_by_deployment_bytes=0, hugepages_reserved_bytes=0, swap_total_bytes=0, memory_channels=None,
        store_free_bytes=None, virtualization="none")


def planned(hosts: dict[str, Capacity], wanted: Any, header: Any, texts: list[str]) -> None:
    """Plan once; the plan's text goes into `texts`."""
    plan = plan_fleet(hosts, wanted, {want.name: header for want in wanted})
    texts.append(json.dumps(plan.as_dict(), sort_keys=True))


def run() -> None:
    """How long the plan of a fleet takes, and that it is the same bytes each time."""
    rows = [["HOSTS", "MODELS", "SECONDS", "SAME BYTES"]]
    header = read_header(FileSource(str(ensure_model())), exact=True)
    for count, names in ((3, 2), (30, 10), (300, 40)):
        chance = random.Random(count)
        hosts = {f"ai{n}": host(chance) for n in range(count)}
        wanted = parse_wanted([
            {"name": f"m{n}", "source": "hf://owner/repository", "context": 1024 * chance.randint(1, 16), "slots": chance.randint(1, 4),
             "replicas": min(count, 3)} for n in range(names)])
        texts: list[str] = []
        seconds = timed(partial(planned, hosts, wanted, header, texts))[1]
        rows.append([str(count), str(names), f"{seconds:.2f}", str(len(set(texts)) == 1)])
    show("Planning a fleet, 3 replicas a model", rows)
