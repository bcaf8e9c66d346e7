"""The verdict over plan, instances and probes."""
from __future__ import annotations

import copy

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.localai.fleet.plugins.filter import verdict as plugin
from ansible_collections.localai.fleet.plugins.module_utils import _verdict
from ansible_collections.localai.fleet.plugins.module_utils._errors import FleetError

GIB = 1024**3
PLAN = {"hosts": {
    "ai1": {"instances": [{"name": "localai", "cpuset": None, "cpus": 2.0, "threads": 2, "memory_limit": 2 * GIB, "memory_planned": GIB}]},
    "ai2": {"instances": []},
}}
INFO = {
    "name": "localai", "id": "a", "started_at": "t", "running": True, "health": "healthy", "oom_killed": False,
    "memory_limit": 2 * GIB, "cpus": 2.0, "cpuset": None, "threads_env": 2, "max_active_env": None, "read_only": True, "user": "999:999",
    "cap_drop": ["ALL"], "cap_add": [], "security_opt": ["no-new-privileges:true"], "privileged": False, "pids_limit": 99,
    "nr_periods": 100, "nr_throttled": 50, "memory_anonymous_bytes": GIB // 2, "memory_file_bytes": 1,
    "tmp_used_bytes": GIB // 20, "tmp_size_bytes": GIB // 8,
}
AFTER = {**INFO, "nr_periods": 1100, "nr_throttled": 60}
PASSED = {"name": "chat", "target": "m", "ok": True, "got": "200", "want": "200", "seconds": 0.1, "cure": ""}
FAILED = {**PASSED, "target": "gpt-4", "ok": False, "cure": "Do it."}


def judge(after=None, before=None, plan=None, probes=None):
    infos_after = {"ai1": {"instances": [] if after == {} else [{**AFTER, **(after or {})}]}}
    infos_before = {"ai1": [{**INFO, **(before or {})}]}
    return _verdict.verdict(plan or PLAN, infos_before, infos_after, [{"checks": [PASSED]}] if probes is None else probes)


def failures(result):
    return [(check["host"], check["instance"], check["name"], check["got"]) for check in result["checks"] if not check["ok"]]


def test_all_is_well():
    result = judge()
    assert (result["ok"], result["failed"], failures(result)) == (True, 0, [])
    assert result["summary"] == "All 11 checks passed."
    assert [check["name"] for check in result["checks"]] == [
        "container", "memory_limit", "cpus", "cpuset", "threads", "max_active", "hardening", "throttled", "memory", "tmp", "chat"]
    assert result["measured"] == [{
        "host": "ai1", "instance": "localai", "memory_planned": GIB, "memory_limit": 2 * GIB, "memory_anonymous": GIB // 2,
        "memory_file": 1, "throttled_share": 0.01}]


@pytest.mark.parametrize(
    "after, name, got",
    [
        ({"running": False}, "container", "stopped"),
        ({"running": False, "oom_killed": True}, "container", "stopped, ended for memory"),
        ({"health": "unhealthy"}, "container", "unhealthy"),
        ({"health": "starting"}, "container", "starting"),
        ({"memory_limit": None}, "memory_limit", "none"),
        ({"memory_limit": 1}, "memory_limit", "1"),
        ({"cpus": None}, "cpus", "none"),
        ({"cpus": 1.5}, "cpus", "1.5"),
        ({"threads_env": None}, "threads", "none"),
        ({"threads_env": 4}, "threads", "4"),
        ({"cpuset": "0-1"}, "cpuset", "0-1"),
        ({"max_active_env": 1}, "max_active", "1"),
        ({"read_only": False}, "hardening", "writable root file system"),
        ({"user": ""}, "hardening", "runs as root"),
        ({"user": "0:999"}, "hardening", "runs as root"),
        ({"cap_drop": ["NET_RAW"]}, "hardening", "keeps capabilities"),
        ({"cap_add": ["NET_RAW"]}, "hardening", "keeps capabilities"),
        ({"security_opt": []}, "hardening", "may gain privileges"),
        ({"security_opt": ["no-new-privileges=false"]}, "hardening", "may gain privileges"),
        ({"privileged": True, "pids_limit": None}, "hardening", "privileged, no limit of processes"),
        ({"nr_throttled": 61}, "throttled", "11 of 1000 periods (1.1 %)"),
        ({"nr_periods": 110, "nr_throttled": 56}, "throttled", "6 of 10 periods (60.0 %)"),
        ({"memory_anonymous_bytes": GIB + 1}, "memory", "1.00 GiB (100 % of the plan)"),
        ({"tmp_used_bytes": 103 << 20}, "tmp", "103 of 128 MiB (80 %)"),
    ],
)
def test_one_thing_is_wrong(after, name, got):
    result = judge(after)
    assert failures(result) == [("ai1", "localai", name, got)]
    assert (result["ok"], result["failed"], result["summary"]) == (False, 1, f"1 of 11 checks failed: ai1 localai {name}.")
    assert all(check["cure"].endswith(".") for check in result["checks"] if not check["ok"])


@pytest.mark.parametrize("threads, cpus, ok", [(2, 1.5, True), (1, 0.5, True), (1, 1.0, False), (1, 1.5, False)])
def test_only_threads_above_the_limit_may_be_stopped(threads, cpus, ok):
    plan = copy.deepcopy(PLAN)
    plan["hosts"]["ai1"]["instances"][0].update(threads=threads, cpus=cpus)
    found = {check["name"]: check["ok"] for check in judge({"threads_env": threads, "cpus": cpus, "nr_throttled": 900}, plan=plan)["checks"]}
    assert found["throttled"] is ok


@pytest.mark.parametrize(
    "after, before",
    [
        ({"health": None}, {}),
        ({"security_opt": ["no-new-privileges"]}, {}),
        ({"nr_periods": None, "nr_throttled": None}, {}),
        ({"nr_periods": 100, "nr_throttled": 50}, {}),
        ({"nr_periods": 136, "nr_throttled": 55}, {}),
        ({"id": "b", "nr_periods": 200, "nr_throttled": 2}, {"id": "a"}),
        ({"started_at": "u", "nr_periods": 200, "nr_throttled": 2}, {}),
        ({"memory_anonymous_bytes": None}, {}),
        ({"cpus": 2.0000001}, {}),
    ],
)
def test_still_well(after, before):
    assert judge(after, before)["ok"]


def test_a_container_that_is_missing():
    result = judge({})
    assert failures(result) == [("ai1", "localai", "container", "no container")]
    assert result["measured"][0]["memory_anonymous"] is None


def test_a_host_that_was_not_read():
    result = _verdict.verdict(PLAN, {}, {}, [])
    assert failures(result) == [("ai1", "localai", "container", "no container")]


def test_pinned_instances():
    plan = {"hosts": {"ai1": {"instances": [{**PLAN["hosts"]["ai1"]["instances"][0], "cpuset": "0-3"}]}}}
    assert failures(judge(plan=plan)) == [("ai1", "localai", "cpuset", "none")]
    assert judge({"cpuset": "0-3"}, plan=plan)["ok"]


def test_each_instance_of_a_host_is_judged():
    planned = PLAN["hosts"]["ai1"]["instances"][0]
    instances = [{**planned, "name": "localai-node0", "cpuset": "0-1"}, {**planned, "name": "localai-node1", "cpuset": "2-3"},
                 {**planned, "name": "localai-ondemand", "max_active": 1, "residency": "on_demand"}]
    found = [{**AFTER, "name": "localai-node0", "cpuset": "0-1"}, {**AFTER, "name": "localai-node1", "cpuset": "0-1"},
             {**AFTER, "name": "localai-ondemand", "processes": []}]
    before = [{**info, "nr_periods": 100, "nr_throttled": 50} for info in found]
    result = _verdict.verdict({"hosts": {"ai1": {"instances": instances}}}, {"ai1": before}, {"ai1": {"instances": found}}, [])
    assert failures(result) == [("ai1", "localai-node1", "cpuset", "0-1"), ("ai1", "localai-ondemand", "max_active", "none")]


@pytest.mark.parametrize(
    "probes, want",
    [
        ([{"base_url": "https://ai", "checks": [PASSED, FAILED]}], [("https://ai", "", "chat", "200")]),
        ({"base_url": "https://ai", "checks": [FAILED]}, [("https://ai", "", "chat", "200")]),
        ({"gw1": {"checks": [PASSED]}, "gw2": {"checks": [FAILED]}}, [("gw2", "", "chat", "200")]),
        ({"gw1": [FAILED]}, [("gw1", "", "chat", "200")]),
        ([[FAILED]], [("", "", "chat", "200")]),
        ({"gw1": {"failed": True, "msg": "no"}}, [("gw1", "", "probe", "no checks")]),
        ([], []),
        ({}, []),
    ],
)
def test_probes(probes, want):
    assert failures(judge(probes=probes)) == want


def test_nothing_at_all():
    result = _verdict.verdict({"hosts": {}}, {}, {}, [])
    assert result["ok"] and result["summary"] == "Nothing was planned and nothing was asked."


@pytest.mark.parametrize("plan", [{}, [], None, {"hosts": []}])
def test_no_plan(plan):
    with pytest.raises(FleetError, match="no plan"):
        _verdict.verdict(plan, {}, {}, [])


def test_the_filter():
    [judged] = plugin.FilterModule().filters().items()
    assert judged[0] == "verdict" and judged[1](PLAN, {}, {"ai1": [{**AFTER, "nr_throttled": 0}]}, [])["ok"]
    with pytest.raises(AnsibleFilterError, match="fleet_plan"):
        judged[1]({}, {}, {}, [])
