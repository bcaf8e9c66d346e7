"""The fact of a host's capacity."""
from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest
import yaml
from ansible_collections.localai.fleet.plugins.modules import capacity_facts


def host(root: Path) -> dict[str, str]:
    for path, text in {"proc/meminfo": "MemTotal: 4 kB\nMemAvailable: 2 kB\n", "sys/devices/system/cpu/online": "0-1\n"}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return {"root": str(root)}


def test_quartet(run_module, tmp_path):
    args = host(tmp_path)
    results = [run_module("capacity_facts", args, check=check) for check in (True, False, True, False)]
    for result in results:
        assert result["changed"] is False
        assert result["ansible_facts"].keys() == {"localai_capacity", "localai_deployed"}
    facts = [result["ansible_facts"]["localai_capacity"] for result in results]
    moving = {"store_free_bytes": 0, "read_at": ""}
    assert all({**fact, **moving} == {**facts[0], **moving} for fact in facts)
    assert (facts[0]["logical_cpus_online"], facts[0]["memory_total_bytes"], facts[0]["schema"]) == (2, 4096, 1)


def test_when_it_was_read_is_told(run_module, tmp_path):
    before = datetime.now(timezone.utc).replace(microsecond=0)
    told = run_module("capacity_facts", host(tmp_path))["ansible_facts"]["localai_capacity"]["read_at"]
    assert before <= datetime.strptime(told, "%Y-%m-%dT%H:%M:%S%z") <= datetime.now(timezone.utc)


@pytest.mark.parametrize("root", ["missing", "file", ""])
def test_a_root_that_is_no_directory_gets_a_sentence(run_module, tmp_path, root):
    (tmp_path / "file").write_text("")
    result = run_module("capacity_facts", {"root": root and str(tmp_path / root)})
    assert result["failed"] and "no directory" in result["msg"] and root in result["msg"] and "/proc" in result["msg"]


@pytest.mark.parametrize(("content", "fact"), [
    (None, {}), ("", {}), ("{", {}), ("[1]", {}), ('{"instances": [{"name": "localai"}]}', {"instances": [{"name": "localai"}]})])
def test_what_is_deployed_is_a_fact(run_module, tmp_path, content, fact):
    state = tmp_path / "opt" / "localai" / "state" / "plan.json"
    state.parent.mkdir(parents=True)
    if content is not None:
        state.write_text(content)
    assert run_module("capacity_facts", host(tmp_path))["ansible_facts"]["localai_deployed"] == fact


def test_this_host(run_module):
    fact = run_module("capacity_facts", {})["ansible_facts"]["localai_capacity"]
    assert fact["usable_cores"] >= 1 and fact["memory_available_bytes"] > 0 and fact["arch"]


def test_every_field_is_documented_and_no_other(run_module, tmp_path):
    documented = yaml.safe_load(capacity_facts.RETURN)["ansible_facts"]["contains"]["localai_capacity"]["contains"]
    fact = run_module("capacity_facts", host(tmp_path))["ansible_facts"]["localai_capacity"]
    assert documented.keys() == fact.keys()
