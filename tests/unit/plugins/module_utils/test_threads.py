"""Threads: one model, several models, quotas, memory channels."""
from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _capacity, _threads
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError


def capacity(tmp_path, cores, channels=None, logical=None, quota=None):
    empty = _capacity.read_capacity(str(tmp_path))
    return replace(empty, usable_cores=cores, memory_channels=channels, quota_cores=quota,
                   allowed_cpus=tuple(range(cores if logical is None else logical)))


@pytest.mark.parametrize(
    "cores, channels, weights, reserve, budget, threads, batch, active",
    [
        (1, None, [1], None, 1, [1], [1], None),
        (2, None, [1], None, 2, [2], [2], None),
        (3, None, [1], None, 3, [3], [3], None),
        (4, None, [1], None, 3, [3], [3], None),
        (8, None, [1], 0, 8, [8], [8], None),
        (8, None, [1], 20, 1, [1], [1], None),
        (32, 2, [1], None, 31, [6], [31], None),
        (32, 16, [1], None, 31, [31], [31], None),
        (8, None, [], None, 7, [], [], None),
        (8, None, [1, 1], None, 7, [4, 3], [4, 3], None),
        (8, None, [3, 1], None, 7, [5, 2], [5, 2], None),
        (8, None, [1, 1, 1], None, 7, [3, 2, 2], [3, 2, 2], None),
        (9, None, [1, 100], None, 8, [1, 7], [1, 7], None),
        (2, None, [1, 1], None, 2, [1, 1], [1, 1], None),
        (2, None, [1, 1, 1], None, 2, [1, 1, 1], [1, 1, 1], 2),
        (1, None, [1, 5], None, 1, [1, 1], [1, 1], 1),
        (33, 2, [1, 3], None, 32, [6, 6], [8, 24], None),
        (256, None, [1] * 40, None, 255, None, None, None),
    ],
)
def test_plan_threads(tmp_path, cores, channels, weights, reserve, budget, threads, batch, active):
    plan = _threads.plan_threads(capacity(tmp_path, cores, channels), weights, reserve)
    assert (plan.budget, plan.cpuset, plan.max_active) == (budget, None, active)
    got, got_batch = [m.threads for m in plan.models], [m.threads_batch for m in plan.models]
    if threads is not None:
        assert (got, got_batch) == (threads, batch)
    if active is None:
        assert sum(got) <= budget and sum(got_batch) <= budget
    assert all(1 <= one <= many for one, many in zip(got, got_batch))
    assert 1 <= plan.server <= budget


@pytest.mark.parametrize(
    "cores, logical, quota, cpus",
    [
        (2, 2, None, 2.0),
        (2, 4, None, 2.5),
        (8, 8, None, 7.5),
        (1, 4, 1.5, 1.5),
        (1, 4, 1.2, 1.2),
        (1, 4, 0.5, 0.5),
        (2, 8, 2.0, 2.0),
        (7, 8, 7.5, 6.5),
        (1, 0, None, 1.0),
        (1, 1, 0.123456, 0.12),
        (1, 4, 0.004, 0.01),
    ],
)
def test_the_limit_leaves_room_for_the_server(tmp_path, cores, logical, quota, cpus):
    assert _threads.plan_threads(capacity(tmp_path, cores, None, logical, quota)).cpus == cpus


@pytest.mark.parametrize("tuned, cores, channels, reserve, threads", [
    (6, 16, 1, None, 6), (20, 16, 1, None, 15), (1, 16, None, None, 1), (None, 16, 1, None, 3), (8, 8, None, 4, 4)])
def test_a_measurement_replaces_the_channel_bound(tmp_path, tuned, cores, channels, reserve, threads):
    plan = _threads.plan_threads(capacity(tmp_path, cores, channels), [1], reserve, tuned)
    assert (plan.server, plan.models) == (threads, (_threads.ModelThreads(threads, plan.budget),))


@pytest.mark.parametrize("quota, fast, tuned, weights, reserve, threads, cpus, undecided", [
    (1.5, 4, 2, [1], None, [2], 1.5, False),
    (1.5, 4, 5, [1], None, [2], 1.5, False),
    (2.25, 4, 3, [1], None, [3], 2.25, False),
    (1.5, 4, 1, [1], None, [1], 1.5, False),
    (1.5, 4, None, [1], None, [1], 1.5, True),
    (1.5, 1, None, [1], None, [1], 1.5, False),
    (1.5, 4, None, [1, 1], None, [1, 1], 1.5, False),
    (2.5, 4, None, [1], 1, [1], 1.5, False),
    (0.5, 4, None, [1], None, [1], 0.5, False),
    (2.0, 4, None, [1], None, [2], 2.0, False),
    (2.0, 4, 3, [1], None, [2], 2.0, False),
    (0.5, 4, 2, [1], None, [1], 0.5, False),
    (1.5, 1, 2, [1], None, [1], 1.5, False),
    (1.5, 4, 2, [1, 1], None, [1, 1], 1.5, False),
    (2.5, 4, 3, [1], 1, [1], 1.5, False),
    (4.5, 8, 5, [1], None, [3], 3.5, False),
])
def test_a_part_of_a_core_is_used_where_it_was_measured_to_pay(tmp_path, quota, fast, tuned, weights, reserve, threads, cpus, undecided):
    host = replace(capacity(tmp_path, _capacity.usable_cores(fast, quota), None, 4, quota), performance_cores_allowed=fast)
    plan = _threads.plan_threads(host, weights, reserve, tuned)
    assert ([model.threads for model in plan.models], plan.cpus) == (threads, cpus)
    assert plan.undecided is undecided
    assert plan.budget == plan.server


@pytest.mark.parametrize("cores, server, gateway", [(1, 0, 0), (3, 0, 0), (4, 1, 1), (7, 1, 1), (8, 1, 2), (64, 1, 2)])
def test_default_reserve(tmp_path, cores, server, gateway):
    host = capacity(tmp_path, cores)
    assert (_threads.default_reserve(host), _threads.default_reserve(host, gateway=True)) == (server, gateway)
    assert _threads.plan_threads(host).reserve == server


@pytest.mark.parametrize("cores, load, quota, physical, gateway, want", [
    (2, None, None, 2, False, 0),
    (2, 0.0, None, 2, False, 0),
    (2, 0.25, None, 2, False, 0),
    (2, 0.3, None, 2, False, 1),
    (2, 1.0, None, 2, False, 1),
    (2, 5.0, None, 2, False, 1),
    (1, 3.0, None, 1, False, 0),
    (8, 1.0, None, 8, False, 2),
    (8, 1.0, None, 8, True, 3),
    (8, 2.3, None, 8, False, 4),
    (8, 100.0, None, 8, False, 7),
    (2, 1.0, 2.0, 16, False, 0),
    (4, 5.0, None, 8, False, 2),
])
def test_proposed_reserve(tmp_path, cores, load, quota, physical, gateway, want):
    host = replace(capacity(tmp_path, cores, quota=quota), other_load_cores=load, physical_cores_allowed=physical)
    assert _threads.proposed_reserve(host, gateway) == want
    assert _threads.plan_threads(host) == _threads.plan_threads(replace(host, other_load_cores=None))


def cores_of(fast, slow=0, siblings=1):
    """`fast` cores with `siblings` CPUs each, numbered core by core, then `slow` ones with one."""
    quick = [_capacity.Core(tuple(range(n * siblings, (n + 1) * siblings)), True) for n in range(fast)]
    start = fast * siblings
    return (*quick, *(_capacity.Core((start + n,), False) for n in range(slow)))


@pytest.mark.parametrize("cores, node, quota, cpuset, cpus", [
    (cores_of(4), None, None, None, 3.5),
    (cores_of(4, siblings=2), None, None, None, 3.5),
    (cores_of(4, 8, siblings=2), None, None, "0-7", 3.5),
    (cores_of(2, 8), None, None, "0-1", 2.0),
    (cores_of(4, 8), None, 1.5, "0-3", 1.5),
    (cores_of(4), 1, None, "0-3", 3.5),
    (cores_of(1), 0, None, "0", 1.0),
    ((_capacity.Core((0, 8), True), _capacity.Core((1, 9), True), _capacity.Core((4, 12), True)), 0, None, "0-1,4,8-9,12", 3.5),
])
def test_pinning(tmp_path, cores, node, quota, cpuset, cpus):
    fast = sum(core.performance for core in cores)
    host = replace(capacity(tmp_path, _capacity.usable_cores(fast, quota)), cores=cores, numa_node=node, quota_cores=quota,
                   allowed_cpus=tuple(sorted(cpu for core in cores for cpu in core.cpus)))
    plan = _threads.plan_threads(host)
    assert (plan.cpuset, plan.cpus) == (cpuset, cpus)


def test_as_dict(tmp_path):
    plan = _threads.plan_threads(capacity(tmp_path, 2)).as_dict()
    assert plan == {"budget": 2, "reserve": 0, "cpus": 2.0, "cpuset": None, "server": 2, "max_active": None, "undecided": False,
                    "models": [{"threads": 2, "threads_batch": 2}]}


@pytest.mark.parametrize("weights, reserve, tuned, text", [
    ([1, 0], None, None, r"weights\[1\]"), ([float("inf")], None, None, "weight"), ([1], -1, None, "negative"), ([1], None, 0, "below 1")])
def test_bad_input(tmp_path, weights, reserve, tuned, text):
    with pytest.raises(FleetError, match=text):
        _threads.plan_threads(capacity(tmp_path, 4), weights, reserve, tuned)


def hosts():
    """Hosts of 1 to 64 cores with and without SMT, slow cores, a quota, known channels, as a whole and as a memory node."""
    for fast, slow, siblings, quota, channels, node in product(
            (1, 2, 3, 4, 8, 31, 64), (0, 4), (1, 2), (None, 0.3, 1.5, 7.9, 500.0), (None, 1), (None, 0)):
        cores = cores_of(fast, slow, siblings)
        cpus = tuple(sorted(cpu for core in cores for cpu in core.cpus))
        yield _capacity.Capacity(
            arch=None, isa=(), cpu_model=None, logical_cpus_online=len(cpus), allowed_cpus=cpus, physical_cores_allowed=len(cores),
            performance_cores_allowed=fast, usable_cores=_capacity.usable_cores(fast, quota), smt=siblings > 1, sockets=1, numa_nodes=(),
            quota_cores=quota, memory_total_bytes=None, memory_limit_bytes=None, memory_available_bytes=None, memory_used_by_deployment_bytes=0,
            hugepages_reserved_bytes=0, swap_total_bytes=None, memory_channels=channels, store_free_bytes=None, virtualization=None,
            cores=cores, numa_node=node)


ASKED = list(product(([], [1.0], [1.0, 1.0], [5.0, 1.0, 0.1], [1.0] * 9), (None, 2, 70), (None, 1, 5)))


def holds(host, plan, weights, reserve, tuned):
    """What is true of every plan of threads."""
    decode, batch = [model.threads for model in plan.models], [model.threads_batch for model in plan.models]
    floor, limit = max(1, int(host.quota_cores or 1 << 20)), host.quota_cores or 1 << 20
    pinned = _capacity.cpu_list(plan.cpuset) or frozenset(host.allowed_cpus)
    more = int(tuned is not None and len(weights) == 1 and plan.reserve == 0 and host.usable_cores < min(host.performance_cores_allowed, limit, tuned)
               and host.quota_cores is not None)
    assert plan.budget == max(1, host.usable_cores - plan.reserve) + more
    assert reserve in (None, plan.reserve)
    assert all(1 <= one <= many <= plan.budget for one, many in zip(decode, batch)) and len(decode) == len(weights)
    assert max(batch, default=1) <= floor + more and 1 <= plan.server <= plan.budget
    assert plan.max_active == (plan.budget if len(weights) > plan.budget else None)
    if plan.max_active is None:
        assert sum(decode) <= plan.budget and sum(batch) == (plan.budget if weights else 0)
    if tuned is None and host.memory_channels:
        assert max(decode, default=1) <= max(1, 3 * host.memory_channels)
    assert max(decode, default=1) <= (tuned or plan.budget)
    assert min(plan.budget, limit) <= plan.cpus <= min(limit, len(pinned)) and plan.cpus <= plan.budget + 0.5
    assert pinned <= frozenset(host.allowed_cpus) and len(pinned) >= plan.budget
    return True


def test_what_holds_for_every_plan():
    count = 0
    for host in hosts():
        for weights, reserve, tuned in ASKED:
            plan = _threads.plan_threads(host, weights, reserve, tuned)
            assert plan == _threads.plan_threads(host, list(weights), reserve, tuned)
            count += holds(host, plan, weights, reserve, tuned)
    assert count == 7 * 2 * 2 * 5 * 2 * 2 * len(ASKED)


def test_more_weight_is_never_fewer_threads(tmp_path):
    for cores, weight in product((2, 5, 8, 33), (0.1, 1.0, 3.0, 50.0)):
        plan = _threads.plan_threads(capacity(tmp_path, cores), [weight, 1.0, 1.0])
        first, second = plan.models[0].threads, plan.models[1].threads
        assert (first >= second) if weight >= 1 else (first <= second)
