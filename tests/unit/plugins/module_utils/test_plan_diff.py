"""What a plan changes in what is deployed."""
from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.localai.fleet.plugins.module_utils import _plan_diff
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError
from plans import GIB, MIB, host, instance, model, plan

WORKER = {"model": "big", "layers": 4, "cpuset": None, "cpus": 2.5, "threads": 2, "memory_limit": GIB, "memory_planned": GIB}
ONE = plan({"ai1": host(instance())})


def told(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    return [str(change) for change in _plan_diff.changes(before, after)]


def fleet(*servers: str, **more: Any) -> dict[str, Any]:
    return plan({name: host(instance(model(**more))) for name in servers})


@pytest.mark.parametrize("before, after, lines", [
    (ONE, ONE, []),
    ({}, ONE, ["m starts on ai1", "instance localai starts on ai1"]),
    (ONE, plan({"ai1": host()}), ["m ends on ai1", "instance localai ends on ai1"]),
    (plan({"ai1": host(instance()), "ai2": host(instance(model("n")))}), plan({"ai1": host(instance(model("n"))), "ai2": host(instance())}),
     ["m starts on ai2", "n starts on ai1", "m ends on ai1", "n ends on ai2"]),
    (fleet("ai1", "ai2"), fleet("ai1", "ai2", context=8192, threads=4), ["m on ai1, ai2: threads 3 → 4, context 4096 → 8192"]),
    (fleet("ai1"), fleet("ai1", files=["cd" * 32, "ef" * 32]), ["m on ai1: files abababababab → cdcdcdcdcdcd, efefefefefef"]),
    (fleet("ai1"), fleet("ai1", projector="cd" * 32), ["m on ai1: projector none → cdcdcdcdcdcd"]),
    (fleet("ai1"), fleet("ai1", aliases=[]), ["m on ai1: aliases gpt-4 → none"]),
    (ONE, plan({"ai1": host(instance(memory_limit=2 * GIB, cpuset="0-2"))}),
     ["instance localai on ai1: cpuset none → 0-2, memory limit 1000 MiB → 2.0 GiB"]),
    (ONE, plan({"ai1": host(instance(memory_limit=1000 * MIB - 1))}), ["instance localai on ai1: memory limit 1048576000 bytes → 1048575999 bytes"]),
    (ONE, plan({"ai1": host(instance(), instance(model("n"), name="localai-ondemand"))}),
     ["n starts on ai1 (localai-ondemand)", "instance localai-ondemand starts on ai1"]),
    (ONE, plan({"ai1": host(instance()), "ai2": host(workers=[WORKER])}), ["worker of big starts on ai2"]),
    (plan({"ai2": host(workers=[WORKER])}), plan({"ai2": host(workers=[{**WORKER, "layers": 5}])}), ["worker of big on ai2: layers 4 → 5"]),
])
def test_changes(before: dict[str, Any], after: dict[str, Any], lines: list[str]) -> None:
    assert told(before, after) == lines


def test_a_change_that_all_hosts_share_is_one_line() -> None:
    names = [f"ai{index}" for index in range(300)]
    assert told(fleet(*names), fleet(*names, slots=4)) == ["m on ai0, ai1, ai10, ai100, ai101 and 295 more: slots 2 → 4"]


def test_what_servers_say_is_deployed_makes_a_plan() -> None:
    made = _plan_diff.deployed({"ai2": {"instances": [instance(), instance(name="localai-ondemand")], "image": {}}, "ai1": {}})
    assert made["placement"] == {"m": ["ai2"]} and list(made["hosts"]) == ["ai1", "ai2"]
    assert told(made, plan({"ai1": host(), "ai2": host(instance())})) == ["m ends on ai2 (localai-ondemand)", "instance localai-ondemand ends on ai2"]


@pytest.mark.parametrize("state, path", [
    ({"instances": [{"name": "x"}]}, ".instances[0].models"), ({"instances": [1]}, ".instances[0]"), ({"instances": [{"models": [{}]}]}, ".instances[0].name"),
    ({"instances": [{"name": "x", "models": [{"name": "m"}]}]}, ".instances[0].models[0].memory"), ({"instances": 7}, ".instances"),
    ({"workers": [{}]}, ".workers[0].model"), ([1], "")])
def test_a_damaged_state_names_its_host(state: Any, path: str) -> None:
    with pytest.raises(FleetError) as caught:
        _plan_diff.deployed({"ai1": state, "ai2": {}})
    assert str(caught.value).startswith(f"What a host says is deployed is damaged (ai1, state/plan.json{path}). Take that file of the host away")


def test_only_what_runs_is_compared() -> None:
    assert _plan_diff.running(plan({"ai1": host(instance()), "ai2": host()})) == {"hosts": {"ai1": {"instances": [instance()], "workers": []}}}
    assert _plan_diff.running({}) == {}


@pytest.mark.parametrize("changes, most, lines", [
    (None, None, []), ((), None, ["deployed: the same as this plan"]),
    ((_plan_diff.Change("removed", "m", ("ai1",)),) * 3, 1, ["deployed: m ends on ai1", "deployed: 2 more changes, in diff mode"]),
    ((_plan_diff.Change("removed", "m", ("ai1",)),) * 2, None, ["deployed: m ends on ai1"] * 2)])
def test_lines(changes: Any, most: Any, lines: list[str]) -> None:
    assert _plan_diff.lines(changes, most) == lines
