"""Hosts, models and plans for the tests of the placement engines."""
from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible_collections.localai.fleet.plugins.module_utils import _budget, _memory, _placement, _plan
from ansible_collections.localai.fleet.plugins.module_utils._capacity import Capacity, Core, NumaNode
from ansible_collections.localai.fleet.plugins.module_utils._fleet import Fleet, Model
from ansible_collections.localai.fleet.plugins.module_utils._gguf import Header, TensorGroup
from ansible_collections.localai.fleet.plugins.module_utils._needs import settings_of
from ansible_collections.localai.fleet.plugins.module_utils._wanted import WantedModel, parse_wanted

MIB, GIB = 1 << 20, 1 << 30


def host(memory: int = 16 * GIB, count: int = 8, **more: Any) -> Capacity:
    base = Capacity(
        arch="x86_64", isa=("sse42", "avx", "avx2"), cpu_model="test", logical_cpus_online=count, allowed_cpus=tuple(range(count)),
        physical_cores_allowed=count, performance_cores_allowed=count, usable_cores=count, smt=False, sockets=1, numa_nodes=(), quota_cores=None,
        memory_total_bytes=memory, memory_limit_bytes=None, memory_available_bytes=memory, memory_used_by_deployment_bytes=0,
        hugepages_reserved_bytes=0, swap_total_bytes=0, memory_channels=None, store_free_bytes=None, virtualization="none")
    return replace(base, **more)


def header(file_size: int = 800 * MIB, architecture: str = "llama", **more: Any) -> Header:
    keys = {"block_count": 16, "embedding_length": 2048, "feed_forward_length": 8192, "attention.head_count": 32, "attention.head_count_kv": 8,
            "attention.key_length": 64, "attention.value_length": 64, "context_length": 131_072}
    return replace(Header(version=3, architecture=architecture, parameters=keys, vocab_size=128_256, tokenizer_model="gpt2", file_size=file_size,
                          has_chat_template=True, tensors=(TensorGroup("Q4_K", "matrix", 32, 1, file_size // 2),)), **more)


def dual(memory: int = 64 * GIB, cores: int = 16, nodes: int = 2, **more: Any) -> Capacity:
    """A host of several memory nodes, each with its share of cores and memory."""
    each = cores // nodes
    return host(
        memory, cores, cores=tuple(Core((cpu,), True) for cpu in range(cores)),
        numa_nodes=tuple(NumaNode(n, tuple(range(n * each, (n + 1) * each)), memory // nodes) for n in range(nodes)), **more)


def want(name: str = "m", **more: Any) -> WantedModel:
    return parse_wanted([{"name": name, "source": "hf://a/b", **more}])[0]


def wants(*items: dict[str, Any]) -> list[WantedModel]:
    """Wanted models that know each other."""
    return parse_wanted([{"source": "hf://a/b", **item} for item in items])


def plan(hosts: Any, models: Any = None, headers: Any = None, digests: Any = None, topology: str = "auto", **fleet: Any) -> _plan.Plan:
    hosts = {"ai1": hosts} if isinstance(hosts, Capacity) else hosts
    models = [want()] if models is None else models
    given = [Model(model, (headers or {}).get(model.name) or header(), (digests or {}).get(model.name)) for model in models]
    return _placement.plan_fleet(hosts, given, topology, Fleet(**fleet))


def anonymous(model: WantedModel, of: Header | None = None) -> int:
    of = of or header()
    return _memory.estimate(of, settings_of(model, of, host().isa)).anonymous


def needed(*models: WantedModel, of: Header | None = None, cores: int = 8) -> int:
    """Bytes that cannot be dropped of a container with these models on so many cores."""
    return sum(anonymous(model, of) for model in models) + _memory.SERVER_ANONYMOUS + _memory.SERVER_TMP + (cores - 2) * MIB // 2


def just_fits(*models: WantedModel, spare: int = 0) -> Capacity:
    """A host whose budget is what these models need, and `spare` bytes."""
    wanted = needed(*models) + spare
    return host(wanted + _budget.SYSTEM_RESERVE_BYTES)
